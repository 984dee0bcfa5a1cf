package mnttests

// sequences are the hand-written ones. Each begins in an empty directory of mode 0777; alice
// and bob share a group, 60150.
var sequences = []struct{ name, ends, calls string }{
	{name: "open flags", calls: `
		open f fd=1 flags=WRONLY
		open f fd=1 flags=CREAT|WRONLY mode=640
		stat f
		open f fd=2 flags=CREAT|EXCL|RDWR mode=600
		open f fd=2 flags=CREAT|RDWR mode=600
		write fd=1 data="hello world"
		read fd=2 n=100
		open f fd=3 flags=WRONLY|TRUNC
		stat fd=1
		pread fd=2 n=10
		open f fd=3 flags=RDONLY|TRUNC
		open f fd=3 flags=DIRECTORY
		open f/ fd=3
		open f/x fd=3
		open nothing/ fd=3 flags=CREAT|RDWR mode=600
		mkdir d mode=755
		open d fd=4 flags=RDWR
		open d fd=4 flags=WRONLY
		open d fd=4 flags=CREAT|RDWR mode=600
		open d fd=4 flags=CREAT mode=600
		open d fd=4 flags=DIRECTORY
		read fd=4 n=10
		pwrite fd=4 data=x
		open x fd=5 dir=4 flags=CREAT|RDWR mode=400
		pwrite fd=5 off=3 data=abc
		open d/x fd=6 flags=RDWR
		alice open d/x fd=6 flags=RDWR
		alice open d/x fd=6 flags=RDONLY
		symlink l d/x
		open l fd=7 flags=NOFOLLOW
		open l fd=7 flags=PATH|NOFOLLOW
		stat fd=7
		read fd=7 n=1
		open l fd=7 flags=CREAT|EXCL mode=600
		symlink dangling d/new
		open dangling fd=7 flags=CREAT|RDWR mode=644
		open dangling fd=7 flags=CREAT|EXCL|RDWR mode=644
		stat d/new
		symlink loop loop
		open loop fd=7
		open f fd=8 flags=PATH
		read fd=8 n=1
		write fd=8 data=x
		stat fd=8
		chmod fd=8 mode=600
		open "" fd=9
		open f fd=9 flags=SYNC|WRONLY
		write fd=9 data=sync
		open f fd=9 flags=DSYNC|APPEND|WRONLY
		write fd=9 data=more
		pwrite fd=9 data=end
		pread fd=2 n=100
		close fd=9
		write fd=9 data=x`},
	{name: "append and offsets", calls: `
		open f fd=1 flags=CREAT|RDWR|APPEND mode=644
		open f fd=2 flags=RDWR
		write fd=1 data=one
		write fd=2 data=TWO!
		write fd=1 data=three
		seek fd=1 flags=CUR
		seek fd=1 off=1 flags=SET
		read fd=1 n=2
		write fd=1 data=four
		seek fd=1 flags=CUR
		seek fd=2 off=-1 flags=SET
		seek fd=2 off=-2 flags=END
		read fd=2 n=10
		seek fd=2 off=1000 flags=END
		write fd=2 data=far
		stat f
		pread fd=1 off=5 n=50
		pread fd=1 off=-1 n=50
		pwrite fd=2 off=-1 data=x
		seek fd=2 off=100000 flags=SET
		read fd=2 n=10
		alice write fd=1 data=x`},
	{name: "truncate", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		write fd=1 data=a*5000
		truncate f n=4097
		stat f
		truncate fd=1 n=10
		truncate fd=1 n=9000
		pread fd=1 off=0 n=9000
		truncate f n=-1
		truncate fd=1 n=-1
		truncate d n=0
		mkdir d mode=755
		truncate d n=0
		open f fd=2 flags=RDONLY
		truncate fd=2 n=0
		stat f
		truncate f n=9000
		stat f
		alice truncate f n=0
		chmod f mode=6777
		alice truncate f n=100
		stat f
		chmod f mode=6777
		truncate f n=50
		stat f
		chmod f mode=6777
		alice open f fd=1 flags=WRONLY
		alice write fd=1 data=x
		stat f
		chmod f mode=2767
		alice pwrite fd=1 off=2 data=y
		stat f
		chmod f mode=6777
		alice open f fd=2 flags=WRONLY|TRUNC
		stat f`},
	{name: "fallocate", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		fallocate fd=1 off=0 n=5000
		stat f
		fallocate fd=1 off=5000 n=5000 flags=KEEP
		stat f
		write fd=1 data=z*6000
		fallocate fd=1 off=1000 n=1000 flags=PUNCH|KEEP
		fallocate fd=1 off=1000 n=1000 flags=PUNCH
		fallocate fd=1 off=5000 n=3000 flags=ZERO
		stat f
		fallocate fd=1 off=5000 n=9000 flags=ZERO|KEEP
		stat f
		pread fd=1 n=20000
		fallocate fd=1 off=-1 n=10
		fallocate fd=1 off=0 n=0
		fallocate fd=1 off=0 n=-5
		open f fd=2
		fallocate fd=2 off=0 n=10
		mkdir d mode=755
		open d fd=3
		fallocate fd=3 off=0 n=10
		fallocate fd=9 off=0 n=10
		fallocate fd=1 off=9223372036854775000 n=2000`},
	{name: "collapse range", ends: "collapse and insert range", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		write fd=1 data=z*9000
		fallocate fd=1 off=0 n=4096 flags=COLLAPSE`},
	{name: "copy a range", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		open g fd=2 flags=CREAT|RDWR mode=644
		write fd=1 data="0123456789abcdef"
		copy fd=1 to=2 off=2 n=5
		copy fd=1 to=1 off=0 n=5 mode=20
		copy fd=1 to=1 off=0 n=5 mode=2
		copy fd=1 to=2 off=100 n=5
		copy fd=2 to=1 off=0 n=0
		open g fd=3 flags=RDONLY
		copy fd=1 to=3 n=5
		open g fd=3 flags=WRONLY
		copy fd=3 to=1 n=5
		open g fd=3 flags=WRONLY|APPEND
		copy fd=1 to=3 n=5
		mkdir d mode=755
		open d fd=4
		copy fd=4 to=1 n=5`},
	{name: "data and holes", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		seek fd=1 flags=DATA
		seek fd=1 flags=HOLE
		write fd=1 data=x*5000
		seek fd=1 flags=DATA
		seek fd=1 off=4999 flags=DATA
		seek fd=1 off=5000 flags=DATA
		seek fd=1 flags=HOLE
		seek fd=1 off=6000 flags=HOLE
		seek fd=1 off=-1 flags=HOLE`},
	{name: "holes of a small file", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		pwrite fd=1 off=0 data=x*13000
		pwrite fd=1 off=24576 data=y*10
		fallocate fd=1 off=4096 n=4096 flags=PUNCH|KEEP
		truncate fd=1 n=40000
		seek fd=1 off=0 flags=DATA
		seek fd=1 off=0 flags=HOLE
		seek fd=1 off=4096 flags=DATA
		seek fd=1 off=4096 flags=HOLE
		seek fd=1 off=5000 flags=DATA
		seek fd=1 off=5000 flags=HOLE
		seek fd=1 off=8192 flags=DATA
		seek fd=1 off=8192 flags=HOLE
		seek fd=1 off=20000 flags=DATA
		seek fd=1 off=20000 flags=HOLE
		seek fd=1 off=30000 flags=DATA
		seek fd=1 off=30000 flags=HOLE
		seek fd=1 off=39999 flags=DATA
		seek fd=1 off=39999 flags=HOLE
		seek fd=1 off=40000 flags=DATA
		seek fd=1 off=40000 flags=HOLE
		close fd=1
		open f fd=2 flags=RDONLY
		seek fd=2 off=0 flags=DATA
		seek fd=2 off=0 flags=HOLE
		seek fd=2 off=4096 flags=DATA
		seek fd=2 off=4096 flags=HOLE
		seek fd=2 off=5000 flags=DATA
		seek fd=2 off=5000 flags=HOLE
		seek fd=2 off=8192 flags=DATA
		seek fd=2 off=8192 flags=HOLE
		seek fd=2 off=20000 flags=DATA
		seek fd=2 off=20000 flags=HOLE
		seek fd=2 off=30000 flags=DATA
		seek fd=2 off=30000 flags=HOLE
		seek fd=2 off=39999 flags=DATA
		seek fd=2 off=39999 flags=HOLE
		seek fd=2 off=40000 flags=DATA
		seek fd=2 off=40000 flags=HOLE`},
	{name: "make and remove", calls: `
		mkdir d mode=755
		mkdir d mode=755
		mkdir d/ mode=755
		mkdir d/e/f mode=755
		mkdir d/e/ mode=1777
		mkdir . mode=755
		mkdir d/.. mode=755
		stat d
		unlink d
		unlink d flags=REMOVEDIR
		unlink d/e flags=REMOVEDIR
		unlink d/. flags=REMOVEDIR
		unlink d/.. flags=REMOVEDIR
		unlink d/ flags=REMOVEDIR
		stat d
		open f fd=1 flags=CREAT|RDWR mode=644
		unlink f flags=REMOVEDIR
		unlink f/
		unlink f/x
		mkdir f mode=755
		mkdir f/x mode=755
		unlink f
		unlink f
		stat fd=1
		write fd=1 data="still here"
		pread fd=1 n=20
		chmod fd=1 mode=600
		stat fd=1
		truncate fd=1 n=3
		setxattr fd=1 name=user.a data=b
		getxattr fd=1 name=user.a
		linkfd back
		stat fd=1
		umask mode=77
		mkdir u mode=777
		open u/f fd=2 flags=CREAT|RDWR mode=666
		mknod u/p flags=FIFO mode=666
		umask mode=0
		mkdir u/d mode=7777
		list u`},
	{name: "links", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		link f g
		link f g
		link f f
		link nothing h
		stat f
		write fd=1 data=both
		open g fd=2
		read fd=2 n=10
		unlink f
		stat g
		stat fd=1
		mkdir d mode=755
		link d dd
		symlink s g
		link s s2
		link s s3 flags=FOLLOW
		stat s2 flags=LINK
		stat s3 flags=LINK
		stat g
		link g d/g
		link g d/g/x
		link g nothing/x
		link g/ x
		link g x/
		mknod p flags=FIFO mode=644
		link p p2
		stat p2
		unlink g
		unlink d/g
		unlink s3
		stat fd=1
		read fd=1 n=10
		pread fd=1 n=10
		alice link p2 p3
		alice link s2 s4`},
	{name: "symbolic links", calls: `
		symlink l target
		symlink l other
		stat l
		stat l flags=LINK
		readlink l
		open f fd=1 flags=CREAT mode=644
		readlink f
		readlink .
		symlink e ""
		symlink l2 l
		mkdir target mode=755
		open l2/x fd=1 flags=CREAT|WRONLY mode=644
		stat l2/x
		stat l2/
		mkdir l2 mode=755
		unlink l2/
		unlink l2 flags=REMOVEDIR
		chown l uid=60101 gid=60101 flags=LINK
		stat l flags=LINK
		stat l
		utimens l a=100.5 m=200.000000007 flags=LINK
		stat l flags=LINK
		setxattr l name=user.a data=b flags=LINK
		setxattr l name=trusted.a data=b flags=LINK
		listxattr l
		rename l2 f
		stat f flags=LINK
		unlink f
		unlink l
		symlink "with space" "a b=\"c\""
		readlink "with space"`},
	{name: "nodes", calls: `
		mknod p flags=FIFO mode=666
		mknod s flags=SOCK mode=777
		mknod c flags=CHR mode=666 n=259
		mknod b flags=BLK mode=600 n=1793
		mknod r flags=REG mode=644
		mknod r flags=REG mode=644
		stat p
		stat s
		stat c
		stat b
		stat r
		open p fd=1 flags=WRONLY
		open p fd=1 flags=RDONLY
		open p fd=2 flags=WRONLY
		write fd=2 data=through
		read fd=1 n=100
		stat p
		open s fd=3 flags=RDWR
		alice mknod mine flags=FIFO mode=644
		alice mknod dev flags=CHR mode=644 n=259
		alice mknod blk flags=BLK mode=644 n=259
		setxattr p name=user.a data=b
		setxattr p name=trusted.a data=b
		truncate p n=0
		rename p q
		chmod q mode=4755
		chown q uid=60101 gid=60150
		stat q
		list .`},
	{name: "a device opened", calls: `
		mknod c flags=CHR mode=666 n=259
		open c fd=3 flags=PATH
		open c fd=3 flags=RDONLY
		read fd=3 n=5
		bob open c fd=2 flags=RDONLY|NOATIME
		bob open c fd=2 flags=WRONLY|TRUNC
		bob write fd=2 data=swallowed
		stat c
		alice mknod mine flags=CHR mode=644 n=259
		mknod b flags=BLK mode=666 n=259
		open b fd=3 flags=RDONLY`},
	{name: "rename", calls: `
		open a fd=1 flags=CREAT|RDWR mode=644
		write fd=1 data=A
		open b fd=2 flags=CREAT|RDWR mode=600
		write fd=2 data=B
		rename a b flags=NOREPLACE
		rename a c flags=NOREPLACE
		rename c b
		pread fd=2 n=5
		stat fd=2
		stat fd=1
		stat b
		link b b2
		rename b b2
		list .
		mkdir d mode=755
		mkdir e mode=755
		rename d e
		rename e b
		rename b e
		mkdir d mode=755
		mkdir d/x mode=755
		rename e d
		rename d e
		rename e e/y
		rename e/x e
		rename e/x ..
		rename . e
		rename e .
		rename e/.. f
		rename nothing f
		rename b f/
		rename b nothing/f
		rename b2 b3
		rename b b3 flags=EXCHANGE
		rename b e flags=EXCHANGE
		list .
		stat b
		stat e
		stat .
		rename b/x e2
		rename e2 b/x flags=EXCHANGE
		rename b b/x flags=EXCHANGE
		rename b nothing flags=EXCHANGE
		rename b e flags=EXCHANGE|NOREPLACE
		rename b e flags=WHITEOUT|EXCHANGE
		open white fd=2 flags=CREAT|WRONLY mode=644
		close fd=2
		link white white2
		rename white white2 flags=WHITEOUT
		rename white white3 flags=WHITEOUT
		rename white3 white2 flags=WHITEOUT|NOREPLACE
		rename white3 white2 flags=WHITEOUT
		rename white white4 flags=WHITEOUT|NOREPLACE
		alice rename white2 white5 flags=WHITEOUT
		tree
		symlink l b3
		rename l l2
		readlink l2
		stat b3`},
	{name: "rename and what it changes", calls: `
		mkdir d mode=755
		mkdir d2 mode=755
		mkdir d/s mode=755
		open d/f fd=1 flags=CREAT|RDWR mode=644
		stat d
		stat d2
		stat d/s
		rename d/s d2/s
		stat d
		stat d2
		stat d2/s
		stat d/f
		rename d/f d2/f
		stat d2/f
		stat fd=1
		stat d
		stat d2`},
	{name: "rename in sticky directories", calls: `
		mkdir s mode=777
		chmod s mode=1777
		alice open s/a fd=1 flags=CREAT|RDWR mode=666
		bob open s/b fd=1 flags=CREAT|RDWR mode=666
		bob rename s/a s/x
		bob rename s/b s/a
		bob unlink s/a
		bob rename s/b s/c
		alice rename s/a s/c
		bob rename s/c s/a flags=EXCHANGE
		alice mkdir s/d mode=777
		bob unlink s/d flags=REMOVEDIR
		bob rename s/d s/e
		bob open s/d/x fd=2 flags=CREAT mode=644
		alice unlink s/d/x
		bob link s/a s/a2
		unlink s/a
		alice unlink s/c
		bob unlink s/c`},
	{name: "nothing changed", calls: `
		mkdir d mode=755
		open f fd=1 flags=CREAT|RDWR mode=644
		symlink f l
		tree
		chown d uid=-1 gid=-1
		chown f uid=-1 gid=-1
		chown l uid=-1 gid=-1 flags=LINK
		tree
		chmod d mode=755
		chmod f mode=644
		tree
		utimens f a=omit m=omit
		truncate f n=0
		tree
		alice chown f uid=-1 gid=-1
		alice chown d uid=-1 gid=-1
		tree`},
	{name: "times of a large file that is synced", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		pwrite fd=1 data=a*200000
		sync fd=1
		stat f
		close fd=1
		open f fd=1 flags=RDWR
		utimens f a=1000 m=2000
		stat f
		pwrite fd=1 off=5000 data=b*4096
		sync fd=1
		stat f
		pwrite fd=1 off=200000 data=c*4096
		sync fd=1
		stat fd=1
		pwrite fd=1 off=5000 data=d*4096
		sync fd=1
		utimens f a=1000 m=2000
		stat f
		chmod f mode=600
		stat f
		close fd=1
		stat f
		open f fd=1 flags=RDWR
		pwrite fd=1 off=5000 data=e*4096
		sync fd=1
		close fd=1
		stat f`},
	{name: "modes and owners", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		chmod f mode=4755
		chown f uid=60101 gid=60101
		stat f
		chmod f mode=6775
		chown f uid=-1 gid=-1
		stat f
		chown f uid=-1 gid=60150
		stat f
		alice chmod f mode=2755
		stat f
		alice chown f uid=-1 gid=60101
		stat f
		alice chmod f mode=2755
		stat f
		alice chown f uid=-1 gid=60102
		alice chown f uid=60102 gid=-1
		alice chown f uid=60101 gid=60150
		bob chmod f mode=777
		bob chown f uid=60102 gid=60102
		chmod f mode=2644
		alice chown f uid=-1 gid=60150
		stat f
		mkdir d mode=755
		chmod d mode=7777
		stat d
		chown d uid=60101 gid=60102
		stat d
		alice chmod d mode=2755
		stat d
		chmod f mode=100644
		alice chmod fd=1 mode=600
		chmod fd=1 mode=751
		chown fd=1 uid=3 gid=4
		stat f
		chmod nothing mode=644
		chown nothing uid=1 gid=1
		chown f uid=2147483647 gid=4294967294
		stat f`},
	{name: "setgid directories", calls: `
		mkdir g mode=775
		chown g uid=60101 gid=60150
		chmod g mode=2777
		bob open g/f fd=1 flags=CREAT|RDWR mode=664
		stat g/f
		bob mkdir g/d mode=755
		stat g/d
		bob mkdir g/d/e mode=700
		stat g/d/e
		bob mknod g/p flags=FIFO mode=644
		bob symlink g/l f
		stat g/l flags=LINK
		bob open g/x fd=2 flags=CREAT|RDWR mode=2755
		stat g/x
		open g/r fd=1 flags=CREAT|RDWR mode=2775
		stat g/r
		open g fd=3 flags=TMPFILE|RDWR mode=2664
		stat fd=3
		chown g uid=60101 gid=60199
		bob open g/y fd=2 flags=CREAT|RDWR mode=2775
		stat g/y
		bob chmod g/y mode=2775
		stat g/y
		alice chmod g mode=2775
		stat g`},
	{name: "who may", calls: `
		mkdir priv mode=700
		open priv/f fd=1 flags=CREAT|RDWR mode=666
		alice stat priv/f
		alice open priv/f fd=1
		alice list priv
		alice mkdir priv/d mode=755
		alice unlink priv/f
		alice rename priv/f f
		mkdir x mode=711
		open x/f fd=1 flags=CREAT|RDWR mode=644
		alice stat x/f
		alice list x
		alice open x/f fd=1 flags=RDWR
		alice open x/f fd=1 flags=RDONLY
		alice access x/f mode=4
		alice access x/f mode=2
		alice access x mode=1
		access x/f mode=1
		chmod x/f mode=1
		access x/f mode=1
		access nothing mode=0
		alice chmod x/f mode=777
		alice utimens x/f a=now m=now
		alice utimens x/f a=5 m=5
		chmod x/f mode=666
		alice utimens x/f a=now m=now
		alice utimens x/f a=now m=omit
		alice utimens x/f a=5 m=5
		alice setxattr x/f name=user.a data=b
		bob getxattr x/f name=user.a
		alice setxattr x/f name=trusted.a data=b
		alice setxattr x/f name=security.foo data=b
		alice truncate x/f n=5
		alice link x/f mylink
		alice open own fd=2 flags=CREAT|RDWR mode=0
		alice write fd=2 data=mine
		alice open own fd=3 flags=RDONLY
		open own fd=3 flags=RDONLY
		read fd=3 n=10
		alice open own fd=3 flags=CREAT|RDWR mode=666
		bob open own fd=3 flags=NOATIME
		chown own uid=60101 gid=60150
		chmod own mode=70
		bob open own fd=3 flags=RDWR
		alice open own fd=3 flags=RDWR`},
	{name: "times", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		utimens f a=1000.123456789 m=2000.987654321
		stat f
		utimens f a=omit m=3000
		stat f
		utimens f a=4000.000000001 m=omit
		stat f
		utimens f a=omit m=omit
		stat f
		utimens f a=now m=omit
		utimens f a=1.5 m=-5
		stat f
		utimens f a=1.1000000000 m=1
		utimens f a=4000000000 m=5
		read fd=1 n=5
		stat f
		write fd=1 data=x
		stat f
		utimens fd=1 a=7 m=8
		read fd=1 n=5
		pread fd=1 n=5
		stat f
		chmod f mode=600
		stat f
		link f g
		stat f
		unlink g
		stat f
		rename f h
		stat h
		setxattr h name=user.x data=y
		stat h
		mkdir d mode=755
		utimens d a=9 m=9
		stat d
		open d/x fd=2 flags=CREAT mode=644
		stat d
		stat d
		unlink d/x
		stat d
		unlink d/x
		stat d
		utimens h a=0 m=0
		stat h
		truncate h n=1
		stat h
		utimens nothing a=1 m=1
		utimens h a=4294967296 m=4294967297.5
		stat h`},
	{name: "xattrs", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		setxattr f name=user.a data=one
		setxattr f name=user.a data=two flags=XCREATE
		setxattr f name=user.b data=two flags=XREPLACE
		setxattr f name=user.a data=three flags=XREPLACE
		setxattr f name=user.b data=""
		setxattr f name=user.bin data="\x00\x01\xff"
		listxattr f
		getxattr f name=user.a
		getxattr f name=user.a n=2
		getxattr f name=user.b
		getxattr f name=user.none
		getxattr f name=none
		setxattr f name=none data=x
		setxattr f name=user. data=x
		setxattr f name=foo.bar data=x
		setxattr f name=trusted.t data=x
		listxattr f
		alice listxattr f
		alice getxattr f name=trusted.t
		rmxattr f name=user.a
		rmxattr f name=user.a
		rmxattr f name=none
		stat f
		mkdir d mode=755
		setxattr d name=user.d data=x
		getxattr d name=user.d
		chmod d mode=1777
		alice setxattr d name=user.e data=x
		setxattr nothing name=user.a data=x
		setxattr f name=user.big data=y*3000
		getxattr f name=user.big
		link f g
		getxattr g name=user.bin
		rename f h
		listxattr h
		setxattr fd=1 name=user.fd data=x
		getxattr h name=user.fd
		open h fd=2
		setxattr fd=2 name=user.ro data=x
		chmod h mode=0
		alice getxattr h name=user.bin
`},
	{name: "large xattrs", ends: "xattrs above one block", calls: `
		open f fd=1 flags=CREAT|RDWR mode=644
		setxattr f name=user.a data=y*65537
		setxattr f name=user.a data=y*60000`},
	{name: "directories", calls: `
		mkdir d mode=755
		open d fd=1 flags=DIRECTORY
		open a fd=2 dir=1 flags=CREAT mode=644
		mkdir sub dir=1 mode=755
		list d
		unlink a dir=1
		unlink d flags=REMOVEDIR
		unlink sub dir=1 flags=REMOVEDIR
		unlink d flags=REMOVEDIR
		stat fd=1
		open a fd=2 dir=1 flags=CREAT mode=644
		mkdir sub dir=1 mode=755
		list . dir=1
		stat . dir=1
		stat .. dir=1
		sync fd=1
		chmod fd=1 mode=700
		stat fd=1
		mkdir d mode=755
		chdir d
		unlink ../d flags=REMOVEDIR
		open x fd=3 flags=CREAT mode=644
		list .
		stat .`},
	{name: "temporary files", calls: `
		open . fd=1 flags=TMPFILE|RDWR mode=640
		stat fd=1
		list .
		write fd=1 data="no name yet"
		linkfd named
		stat named
		stat fd=1
		linkfd named
		linkfd again
		stat named
		open . fd=2 flags=TMPFILE|RDWR|EXCL mode=640
		linkfd never
		link named copy
		open . fd=3 flags=TMPFILE|RDONLY mode=640
		open named fd=3 flags=TMPFILE|RDWR mode=640
		open nothing fd=3 flags=TMPFILE|RDWR mode=640
		alice open . fd=1 flags=TMPFILE|RDWR mode=600
		alice write fd=1 data=hers
		alice stat fd=1
		alice linkfd hers
		alice chmod fd=1 mode=6755
		stat hers
		chmod . mode=755
		alice open . fd=1 flags=TMPFILE|RDWR mode=600`},
	{name: "a file that is open becomes somebody else's, of a group", calls: `
		bob open f fd=1 flags=CREAT|RDWR mode=644
		bob pwrite fd=1 data=x*131073
		chown f uid=60101 gid=60101
		chmod f mode=2775
		bob pwrite fd=1 off=10 data=abc
		stat f
		chmod f mode=4755
		bob pwrite fd=1 off=20 data=abc
		stat f
		chmod f mode=6755
		alice pwrite fd=1 off=20 data=abc
		bob truncate fd=1 n=70000
		stat f
		bob close fd=1
		chmod f mode=4755
		bob chown f uid=-1 gid=-1
		stat f`},
	{name: "locks", calls: `
		open f fd=1 flags=CREAT|RDWR mode=666
		chmod f mode=666
		open f fd=2 flags=RDWR
		alice open f fd=1 flags=RDWR
		alice2 open f fd=1 flags=RDWR
		flock fd=1 flags=EX
		flock fd=2 flags=EX
		alice flock fd=1 flags=SH
		flock fd=1 flags=SH
		alice flock fd=1 flags=SH
		flock fd=1 flags=UN
		flock fd=1 flags=EX
		alice flock fd=1 flags=UN
		lock fd=1 off=0 n=10 flags=EX
		lock fd=2 off=5 n=10 flags=EX
		alice lock fd=1 off=5 n=10 flags=SH
		alice lock fd=1 off=5 n=10 flags=SH|GET
		alice lock fd=1 off=15 n=10 flags=SH
		alice2 lock fd=1 off=15 n=5 flags=SH
		alice2 lock fd=1 off=15 n=5 flags=EX
		lock fd=1 off=15 n=1 flags=EX|GET
		close fd=2
		alice lock fd=1 off=0 n=10 flags=EX
		lock fd=1 off=50 n=10 flags=EX name=ofd
		open f fd=2 flags=RDWR
		lock fd=2 off=50 n=10 flags=EX name=ofd
		close fd=1
		lock fd=2 off=50 n=10 flags=EX name=ofd
		open f fd=3 flags=RDONLY
		lock fd=3 off=0 n=10 flags=EX
		lock fd=3 off=100 n=10 flags=SH
		lock fd=9 off=0 n=1 flags=EX`},
	{name: "names", calls: `
		open aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa fd=1 flags=CREAT mode=644
		open aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa fd=1 flags=CREAT mode=644
		stat aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
		open "\xff\xfe\x01 not text" fd=1 flags=CREAT mode=644
		open "line\nbreak" fd=1 flags=CREAT mode=644
		open "..." fd=1 flags=CREAT mode=644
		open " " fd=1 flags=CREAT mode=644
		open "-rf" fd=1 flags=CREAT mode=644
		open "x~" fd=1 flags=CREAT mode=644
		open .hidden.swp fd=1 flags=CREAT mode=644
		open "ä" fd=1 flags=CREAT mode=644
		open "ä" fd=1 flags=CREAT|EXCL mode=644
		open A fd=1 flags=CREAT|EXCL mode=644
		open a fd=1 flags=CREAT|EXCL mode=644
		open "*" fd=1 flags=CREAT|EXCL mode=644
		open "a:b" fd=1 flags=CREAT|EXCL mode=644
		open "..d" fd=1 flags=CREAT|EXCL mode=644
		open .. fd=1 flags=CREAT|EXCL mode=644
		open . fd=1 flags=CREAT mode=644
		stat "a\x00b"
		statfs
		list .`},
	{name: "access lists", calls: `
		open f fd=1 flags=CREAT|RDWR mode=640
		# user::rw-, user:60101:rwx, group::r--, mask::rwx, other::---
		setxattr f name=system.posix_acl_access data="\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x07\x00\xc5\xea\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
		stat f
		getxattr f name=system.posix_acl_access
		listxattr f
		alice open f fd=1 flags=RDWR
		bob open f fd=1 flags=RDONLY
		chmod f mode=600
		stat f
		getxattr f name=system.posix_acl_access
		alice open f fd=2 flags=RDONLY
		chmod f mode=670
		alice open f fd=2 flags=RDONLY
		bob setxattr f name=system.posix_acl_access data="\x02\x00\x00\x00"
		setxattr f name=system.posix_acl_access data=junk
		setxattr f name=system.posix_acl_access data="\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff"
		rmxattr f name=system.posix_acl_access
		getxattr f name=system.posix_acl_access
		stat f
		setxattr f name=system.posix_acl_default data="\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff"
		mkdir d mode=755
		setxattr d name=system.posix_acl_default data="\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x07\x00\xc5\xea\x00\x00\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
		umask mode=77
		open d/x fd=3 flags=CREAT|RDWR mode=666
		stat d/x
		getxattr d/x name=system.posix_acl_access
		mkdir d/e mode=777
		stat d/e
		getxattr d/e name=system.posix_acl_default
		getxattr d/e name=system.posix_acl_access
		mknod d/p flags=FIFO mode=666
		stat d/p
		symlink d/l x
		open d fd=4 flags=TMPFILE|RDWR mode=666
		stat fd=4
		linkfd d/t
		stat d/t
		getxattr d/t name=system.posix_acl_access
		alice open d/x fd=3 flags=RDWR
		alice open d/y fd=3 flags=CREAT|RDWR mode=644
		rmxattr d name=system.posix_acl_default
		open d/z fd=3 flags=CREAT|RDWR mode=666
		stat d/z`},
	{name: "file handles", calls: `
		open f fd=1 flags=CREAT|RDWR mode=640
		mkdir d mode=755
		handle f
		handle d
		symlink l f
		handle l
		handle nothing`},
}

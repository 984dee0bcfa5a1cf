// Package loop is a transport of the mount: it mounts, reads the kernel's
// requests from /dev/fuse, has a fuse.RawFileSystem answer them and carries
// notices the other way. It takes the place of go-fuse's own server, whose
// request types it uses.
//
// Its nouns. A worker is a goroutine with what it needs to answer a request.
// One worker is the leader: it alone reads the device, and it answers what it
// has read itself, in line, before it reads on. The kernel then wakes one
// thread a request, and that thread is warm: more readers take turns, and each
// turn wakes an idle CPU (limits.md §1 and §5). Replies are written by a raw
// system call, since the runtime takes a processor away from a goroutine that
// stays in an ordinary one while the woken client runs; reading is an ordinary
// one, since it blocks.
//
// A leader that blocks stops the mount, and FORGET and INTERRUPT with it. So a
// request that may block (Options.MayBlock says which do) makes the leader
// hand the lead to another worker first and answer after; and the watch, which
// looks every millisecond while requests come, takes the lead from a leader
// that is still at the request it saw before. There is never more than one
// leader. A request that is answered without the lead is busy: INTERRUPT finds
// it there and closes its cancel channel. Nobody can interrupt what is answered
// in line, and nobody needs to.
//
// Measured beside go-fuse's server (BenchmarkRoundTrip here, BenchmarkTransport
// in package fs; two processors that others used too, medians of paired rounds):
//
//	                          this     go-fuse
//	lstat of a free name      16 µs    22 µs     with 15 and 30 µs of CPU time
//	the same, handed over     24 µs
//	rename                    52 µs   122 µs     in the whole daemon: 70 and 101
//	create, write 1 KiB      102 µs   230 µs     178 and 338
//	the same, four at once   343 µs   342 µs     196 and 228 (time a file)
package loop

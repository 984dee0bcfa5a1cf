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
// looks every half millisecond while requests come, takes the lead from a
// leader that is still at the request it saw before. There is never more than
// one leader. A request that is answered without the lead is busy: INTERRUPT
// finds it there and closes its cancel channel. Nobody can interrupt what is
// answered in line, and nobody needs to.
package loop

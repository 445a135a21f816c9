// Package lab makes bare Linux hosts on one machine, to build real clusters on and to break them.
//
// A lab is a bridge network and, on it, up to fifty nodes: containers that boot systemd and sshd
// as a small server would, with disk, address, machine-id and host keys of their own, that can
// be powered off, started again, and paused. Nothing of Kubernetes is installed on them. Beside
// the nodes a lab may have a mirror, which serves files and images to nodes without internet.
//
// The engine (podman, or Docker) is the only truth about what exists: every object is labelled
// with the lab's name, everything that is listed, changed or removed is found by that label, and
// what a later run needs to know of a node is on the labels of its container. The files in the
// lab's folder are results for its users, and can be lost: Up writes them again. What is lost with
// them is what was asked for, and which addresses belong to nodes that were removed.
//
// Building a command line (engine.go, rootfs.go) is separate from running it (run.go).
package lab

// Package ssh connects to hosts over SSH and implements [host.Conn].
//
// One TCP connection serves a host: scripts and uploads are session channels on it (a bounded
// number at a time), and Dial tunnels through it. Host keys are always verified. A connection
// that stops answering keepalives is closed, everything pending on it fails with
// *host.LostError, and [Client.Redial] brings it back; no command is ever repeated by itself.
//
// Hosts behind bastions share the connections to these ([Bastions]). [ClientConfig] reads
// ssh_config files.
//
// The package reads key files, known_hosts and the agent's socket, but no environment and no
// inventory: [Config] holds plain values.
package ssh

// Package cluster is what kubewright makes of the user's files: the resolved model in which
// every derived value (service addresses, endpoint, members of etcd, versions) is computed once.
// It holds values only: no connection, no file, no clock.
package cluster

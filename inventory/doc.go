// Package inventory says which hosts make up a cluster, what each of them does, and how to log
// in to it. It reads bytes and holds values: it opens no file and no connection.
package inventory

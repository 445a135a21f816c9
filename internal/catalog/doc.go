// Package catalog knows which versions go together, where their files and images are published
// and which digests they must have.
//
// It is data (catalog.yaml) and pure functions over it: nothing here reads a disk or a network.
// A digest the catalogue does not know is not guessed: it is the empty string, and whoever
// downloads the file learns it from the checksum the project publishes and pins it in a Lock.
package catalog

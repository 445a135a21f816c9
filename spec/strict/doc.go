// Package strict reads YAML into Go structs and refuses whatever it does not understand. It
// collects every fault of a document instead of stopping at the first, says where each stands,
// and remembers the place of every value so that later checks can do the same.
package strict

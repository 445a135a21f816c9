// Package arch holds no code, only the tests that keep the architecture: who may import whom and
// why, and the habits that keep packages testable. The rules are tables; a change of the
// architecture is a change of a table, with its reason beside it.
package arch

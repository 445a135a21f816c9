// Package facts says what a host is: a read-only shell script that looks, and
// a strict parser for what the script prints.
//
// The script runs once per host and per run, so it is one pass with few forks.
// It never decides anything: it reports what it saw, or, where a tool or file
// was not there, an explicit "unknown" record with the reason. The parser turns
// the report into [Facts]. A report that is cut, repeated or garbled is an error
// and never a host on which "nothing was found".
//
// The package is pure: it runs nothing and reads no file.
package facts

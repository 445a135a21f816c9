package strict

import "fmt"

// Checker collects what checks of a decoded document find. It drops the faults of values that
// could not be understood in the first place.
type Checker struct {
	Doc    *Document
	Faults Faults
}

// Refuse records a fault of the value at the path; the message is formatted as by fmt.Sprintf.
func (c *Checker) Refuse(at Path, format string, args ...any) {
	c.add(at, c.Doc.Fault(at, fmt.Sprintf(format, args...), ""))
}

// Suggest is Refuse with the text to write instead, which may be "" when there is none.
func (c *Checker) Suggest(at Path, suggestion, format string, args ...any) {
	c.add(at, c.Doc.Fault(at, fmt.Sprintf(format, args...), suggestion))
}

// SuggestKey is Suggest for the key of a value.
func (c *Checker) SuggestKey(at Path, suggestion, format string, args ...any) {
	c.add(at, c.Doc.KeyFault(at, fmt.Sprintf(format, args...), suggestion))
}

func (c *Checker) add(at Path, f Fault) {
	if !c.Doc.Broken(at) {
		c.Faults = append(c.Faults, f)
	}
}

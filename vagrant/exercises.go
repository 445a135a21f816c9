// Package vagrant reads the exercises in the README of the Vagrant lab, so that tests run the commands
// that are printed there and compare what they say with what is promised.
package vagrant

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Exercise is a section of third level with blocks of commands.
type Exercise struct {
	Name  string
	Steps []Step
}

// Step is a block of commands (```sh) with the block of what they print (```text) that may follow it.
type Step struct {
	// Line is that of the first command in the README.
	Line     int
	Commands string
	// Expect are lines that are printed, in any order and among others. Runs of blanks count as one,
	// and "..." stands for anything within a line.
	Expect []string
}

// Parse reads the exercises below a heading of second level. Every block in them has to be one of the two kinds,
// and every exercise has to promise something; the error has the line of what is not so.
func Parse(readme, heading string) ([]Exercise, error) {
	p := parser{heading: "## " + heading}
	for text := range strings.Lines(readme) {
		p.line++
		if err := p.read(strings.TrimRight(text, "\n")); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	if p.fence != "" {
		return nil, fmt.Errorf("line %d: the last block has no end", p.line)
	}
	if len(p.exercises) == 0 {
		return nil, fmt.Errorf("there is no exercise below a heading %s", p.heading)
	}
	return p.exercises, p.promised()
}

// parser is what is known of the lines so far.
type parser struct {
	heading   string // of the exercises
	line      int
	inside    bool   // below the heading
	fence     string // kind of the block that is open
	exercises []Exercise
}

func (p *parser) read(line string) error {
	switch {
	case p.fence != "" && line == "```":
		p.fence = ""
	case p.fence != "":
		return p.within(line)
	case strings.HasPrefix(line, "```"):
		p.fence = strings.TrimPrefix(line, "```")
		return p.open()
	case strings.HasPrefix(line, "## "):
		p.inside = line == p.heading
	case strings.HasPrefix(line, "### ") && p.inside:
		if err := p.promised(); err != nil {
			return err
		}
		p.exercises = append(p.exercises, Exercise{Name: strings.TrimPrefix(line, "### ")})
	}
	return nil
}

// open begins a block.
func (p *parser) open() error {
	if !p.inside {
		if p.fence == "" {
			return errors.New("a block without a kind: write ```sh or ```text")
		}
		return nil
	}
	if len(p.exercises) == 0 {
		return errors.New("a block before the first exercise")
	}
	e := &p.exercises[len(p.exercises)-1]
	switch {
	case p.fence == "sh":
		e.Steps = append(e.Steps, Step{Line: p.line + 1})
	case p.fence != "text":
		return fmt.Errorf("a block %q in exercise %q: write ```sh for commands or ```text for what they print", p.fence, e.Name)
	case len(e.Steps) == 0 || len(e.Steps[len(e.Steps)-1].Expect) > 0:
		return errors.New("a block ```text that does not follow one of commands")
	}
	return nil
}

// within takes a line of a block.
func (p *parser) within(line string) error {
	if !p.inside {
		return nil
	}
	e := &p.exercises[len(p.exercises)-1]
	s := &e.Steps[len(e.Steps)-1]
	if p.fence == "sh" {
		s.Commands += line + "\n"
	} else if line = squeeze(line); line != "" {
		s.Expect = append(s.Expect, line)
	}
	return nil
}

// promised refuses a last exercise that says nothing of what is to happen: it could not fail.
func (p *parser) promised() error {
	if len(p.exercises) == 0 {
		return nil
	}
	e := p.exercises[len(p.exercises)-1]
	for _, s := range e.Steps {
		if len(s.Expect) > 0 {
			return nil
		}
	}
	return fmt.Errorf("exercise %q does not say what its commands print", e.Name)
}

// Missing returns the lines that were promised and are not in what was printed.
func (s Step) Missing(printed string) []string {
	lines := map[string]bool{}
	for line := range strings.Lines(printed) {
		lines[squeeze(line)] = true
	}
	var missing []string
	for _, want := range s.Expect {
		if !found(lines, want) {
			missing = append(missing, want)
		}
	}
	return missing
}

// found looks for a line with "..." in it as a whole line.
func found(lines map[string]bool, want string) bool {
	parts := strings.Split(want, "...")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	pattern := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
	for line := range lines {
		if pattern.MatchString(line) {
			return true
		}
	}
	return false
}

// squeeze makes runs of blanks one, and leaves those at the ends out.
func squeeze(line string) string { return strings.Join(strings.Fields(line), " ") }

package mnttests

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// call is one system call of a sequence, in a form that can be read, written and sent to
// the process that makes it:
//
//	alice open d/f fd=1 flags=CREAT|RDWR mode=644
//
// A failing random sequence is printed like that, and so can be kept as it is.
type call struct {
	Who   string // root, alice, alice2 (another process of hers), bob
	Op    string
	P, Q  string // paths below the directory under test
	FD    int    `key:"fd"`  // the slot of a descriptor in its process, from 1
	To    int    `key:"to"`  // a second slot
	Dir   int    `key:"dir"` // the slot that P starts from; 0 is the directory under test
	Flags string `key:"flags"`
	Mode  int    `key:"mode"` // octal in text
	Off   int64  `key:"off"`
	N     int64  `key:"n"`
	UID   int    `key:"uid"`
	GID   int    `key:"gid"`
	A     string `key:"a"` // atime: now, omit or seconds.nanoseconds
	M     string `key:"m"` // mtime
	Name  string `key:"name"`
	Data  string `key:"data"`
}

// people of the sequences; -1 leaves an id alone.
var callers = map[string]int{"root": 0, "alice": aliceUID, "alice2": aliceUID, "bob": bobUID}

// teamGID is a group of alice and bob.
const teamGID = 60150

func (c call) String() string {
	out := []string{c.Who, c.Op}
	for _, p := range []string{c.P, c.Q} {
		if p != "" {
			out = append(out, word(p))
		}
	}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		key, f := v.Type().Field(i).Tag.Get("key"), v.Field(i)
		switch {
		case key == "" || f.IsZero():
		case key == "mode":
			out = append(out, fmt.Sprintf("mode=%o", f.Int()))
		case key == "data":
			if s := f.String(); len(s) > 40 && s == strings.Repeat(s[:1], len(s)) {
				out = append(out, fmt.Sprintf("data=%s*%d", s[:1], len(s)))
			} else {
				out = append(out, "data="+strconv.Quote(s))
			}
		case f.Kind() == reflect.String:
			out = append(out, key+"="+word(f.String()))
		default:
			out = append(out, fmt.Sprintf("%s=%d", key, f.Int()))
		}
	}
	return strings.Join(out, " ")
}

// word quotes what would not come back as one word.
func word(s string) string {
	if s == "" || strings.ContainsAny(s, " \"=") || strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}

// parseCall reads what String writes. Without a name in front, root calls.
func parseCall(line string) (c call, err error) {
	words, err := splitWords(line)
	if err != nil {
		return c, err
	}
	c.Who = "root"
	if _, ok := callers[words[0]]; ok {
		c.Who, words = words[0], words[1:]
	}
	if len(words) == 0 {
		return c, fmt.Errorf("no operation: %s", line)
	}
	c.Op, words = words[0], words[1:]
	paths := []*string{&c.P, &c.Q}
	for _, w := range words {
		key, val, ok := strings.Cut(w, "=")
		if !ok || strings.HasPrefix(w, `"`) {
			if len(paths) == 0 {
				return c, fmt.Errorf("a third path: %s", line)
			}
			if *paths[0], err = unword(w); err != nil {
				return c, err
			}
			paths = paths[1:]
			continue
		}
		if err := c.set(key, val); err != nil {
			return c, fmt.Errorf("%s: %s: %w", line, w, err)
		}
	}
	return c, nil
}

func (c *call) set(key, val string) error {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("key") != key {
			continue
		}
		if v.Field(i).Kind() == reflect.String {
			s, err := unword(val)
			if char, times, ok := strings.Cut(val, "*"); key == "data" && ok && len(char) == 1 {
				n, err := strconv.Atoi(times)
				if err != nil {
					return err
				}
				s = strings.Repeat(char, n)
			}
			v.Field(i).SetString(s)
			return err
		}
		base := 10
		if key == "mode" {
			base = 8
		}
		n, err := strconv.ParseInt(val, base, 64)
		v.Field(i).SetInt(n)
		return err
	}
	return fmt.Errorf("unknown key")
}

func unword(w string) (string, error) {
	if strings.HasPrefix(w, `"`) {
		return strconv.Unquote(w)
	}
	return w, nil
}

// splitWords splits at spaces outside of quotes.
func splitWords(line string) (words []string, err error) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		n := 0
		for n < len(line) && line[n] != ' ' {
			if line[n] != '"' {
				n++
				continue
			}
			q, err := strconv.QuotedPrefix(line[n:])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			n += len(q)
		}
		words, line = append(words, line[:n]), line[n:]
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("an empty line")
	}
	return words, nil
}

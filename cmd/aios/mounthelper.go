package main

import (
	"errors"
	"strings"
)

// mountHelperArgs turns what mount(8) calls its helper with, `SOURCE DIR [-sfnv]
// [-N NS] [-o OPTS] [-t TYPE]`, into the arguments of `aios mount` (contract §1).
// The source is the state directory; `aios` and `none` stand for the default one.
// The helper returns once the mount is up, as mount(8) wants: --background.
func mountHelperArgs(args []string) ([]string, error) {
	var positional []string
	var options []string
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-o" || a == "-t" || a == "-N":
			i++
			if i == len(args) {
				return nil, errors.New(a + " takes a value")
			}
			if a == "-o" {
				options = append(options, strings.Split(args[i], ",")...)
			}
		case strings.HasPrefix(a, "-"):
			// -s, -f, -n, -v: nothing here depends on them
		default:
			positional = append(positional, a)
		}
	}
	if len(positional) != 2 {
		return nil, errors.New("usage: mount.aios STATE MOUNTPOINT [-o OPTIONS]")
	}
	out := []string{"mount", "--background"}
	if s := positional[0]; s != "aios" && s != "none" {
		// `mount -a` knows by the source that a line of fstab is mounted already.
		out = append(out, "--state", s, "--source", s)
	}
	var pass []string
	for _, o := range options {
		if o != "" {
			pass = append(pass, o)
		}
	}
	if len(pass) > 0 {
		out = append(out, "-o", strings.Join(pass, ","))
	}
	return append(out, positional[1]), nil
}

package policy

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
)

// fill gives every field of a value something, so that a change of each can be seen.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]any{"a": "x", "n": 1.0, "l": []any{"x"}}))
	}
}

// eachChange calls fn after each single change of a value, which it takes back.
func eachChange(v reflect.Value, path string, fn func(path string)) {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	try := func(what string, changed any) {
		v.Set(reflect.ValueOf(changed).Convert(v.Type()))
		fn(path + what)
		v.Set(old)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			eachChange(v.Field(i), path+"."+v.Type().Field(i).Name, fn)
		}
	case reflect.String:
		try("=y", "y")
		try("=", "")
		try("=xx", "xx")
	case reflect.Bool:
		try("=true", !old.Bool())
	case reflect.Int:
		try("=7", int(7))
	case reflect.Uint8, reflect.Uint32, reflect.Uint16, reflect.Uint64:
		try("=7", uint8(7))
	case reflect.Slice:
		eachChange(v.Index(0), path+"[0]", fn)
		v.Set(old.Slice(0, 1))
		fn(path + " shorter")
		v.Set(old)
	case reflect.Map:
		for _, m := range []map[string]any{{}, {"a": "y", "n": 1.0, "l": []any{"x"}}, {"a": "x", "n": 2.0, "l": []any{"x"}}, {"a": "x", "n": 1.0, "l": []any{"y"}}, {"b": "x", "n": 1.0, "l": []any{"x"}}} {
			try(fmt.Sprint("=", m), m)
		}
	default:
		panic("a kind of field that this test does not change: " + v.Kind().String() + " " + path)
	}
}

// Two requests that differ in anything but the action's own id never share a decision.
func TestCacheKeyCoversEveryField(t *testing.T) {
	r := &Request{}
	fill(reflect.ValueOf(r).Elem())
	base, err := r.cacheKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{string(base): "unchanged"}
	n := 0
	eachChange(reflect.ValueOf(r).Elem(), "", func(path string) {
		k, err := r.cacheKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(path) > 9 && path[:9] == ".ActionID" {
			if !bytes.Equal(k, base) {
				t.Error("the action's id makes a difference")
			}
			return
		}
		if other, twice := seen[string(k)]; twice {
			t.Errorf("%s and %s have the same key", path, other)
		}
		seen[string(k)] = path
		n++
	})
	if n < 60 {
		t.Errorf("only %d changes were tried", n)
	}
}

package plan

// ParseDocument reads a dropped document. name is only used in messages. The
// error is always an *Error. A document that starts with `{` or whose first
// key is an intent's is typed; everything else is words.
func ParseDocument(doc []byte, name string) (*Document, error) {
	return nil, &Error{Code: CodeMalformed, Message: "not read yet"}
}

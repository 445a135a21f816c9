// Package spec is what a user writes in cluster.yaml: plain structs, decoded strictly, with the
// defaults filled in. The comments on the fields are the text of the reference page and of the
// JSON schema. The package reads bytes and holds values: it opens no file and no connection.
package spec

//go:generate go run ./gen -root ..

// Package httpapi is the one way in from outside: the HTTP contract of openapi.yaml, served by Gin. The document is the
// source: server types are generated from it, request bodies and parameters are checked against it, who may call what is
// written in it. Handlers translate between it and ports, and decide nothing.
package httpapi

//go:generate go tool oapi-codegen -config oapi-codegen.yaml openapi.yaml

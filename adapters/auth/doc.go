// Package auth decides whether a bearer token is to be trusted: JWTs checked against an issuer's published keys, and,
// for the development stack alone, an issuer of our own.
package auth

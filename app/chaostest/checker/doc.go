// Package checker judges a run of Accord from outside. It is given the history of every request and its answer, and what
// API, ledger and vendors say at the end, and knows nothing but the contract: it imports nothing of what it judges, and
// what it expects is worked out anew from what clients asked for.
//
// A client whose answer was lost knows nothing, so the history's order is one of intervals: a call happened somewhere
// between being sent and being answered. Only what follows for every such moment is held against the system.
package checker

// Package bench measures Accord against what it is built on: the saga beside a bare Temporal workflow with as many steps,
// and the durable acceptance of withdrawals beside the database running the same statements. Both sides of a comparison
// run in the same process, against the same servers, in turns, so that the ratio holds although the machine is busy with
// other things. It holds benchmarks only; docs/performance.md has the results and says how to read them.
package bench

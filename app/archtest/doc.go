// Package archtest holds the architecture to its word: dependencies point inwards only, and each framework stays in the
// one place that is meant to know it. Its tests read the imports of every Go file of the module, whatever its build
// tags, and name each one that points the wrong way.
//
//	domain      standard library without I/O, clock and randomness
//	ports       + domain
//	workflows   + ports, the Temporal SDK
//	app/…       use cases: domain and ports, nothing else
//	adapters/…  domain, ports, workflows (the contract with Temporal); never another adapter, never app
//	app, app/compose, app/config, app/…test
//	            the composition root: knows everything but Gin and GORM
//
// Gin is known to adapters/http and GORM to adapters/postgres. What serves tests (testing, testify, stacktest, portstest,
// mocks) is never in a program.
package archtest

// Package operationstest holds what operators are given (alerts, dashboard, runbooks) together: each alert has its runbook
// and each runbook its alert, and what they ask for is known. Whether API and worker really show it is tested where
// they run.
package operationstest

// Package ports says, in the domain's words, what the outside may ask of Accord (inbound.go) and what Accord needs from
// outside (store.go, targets.go, runs.go). Every comment states errors, repeat-safety and atomicity; an adapter that
// breaks one of them is wrong, whatever it returns.
package ports

//go:generate go tool mockgen -source=auth.go -destination=mocks/auth.go -package=mocks
//go:generate go tool mockgen -source=targets.go -destination=mocks/targets.go -package=mocks
//go:generate go tool mockgen -source=signals.go -destination=mocks/signals.go -package=mocks
//go:generate go tool mockgen -source=runs.go -destination=mocks/runs.go -package=mocks
//go:generate go tool mockgen -source=devices.go -destination=mocks/devices.go -package=mocks
//go:generate go tool mockgen -source=store.go -destination=mocks/store.go -package=mocks
//go:generate go tool mockgen -source=ledger.go -destination=mocks/ledger.go -package=mocks
//go:generate go tool mockgen -source=inbound.go -destination=mocks/inbound.go -package=mocks
//go:generate go tool mockgen -source=links.go -destination=mocks/links.go -package=mocks
//go:generate go tool mockgen -source=inbox.go -destination=mocks/inbox.go -package=mocks
//go:generate go tool mockgen -source=inbox_store.go -destination=mocks/inbox_store.go -package=mocks
//go:generate go tool mockgen -source=engagement.go -destination=mocks/engagement.go -package=mocks
//go:generate go tool mockgen -source=streams.go -destination=mocks/streams.go -package=mocks
//go:generate go tool mockgen -source=metrics.go -destination=mocks/metrics.go -package=mocks
//go:generate go tool mockgen -source=rights.go -destination=mocks/rights.go -package=mocks
//go:generate go tool mockgen -source=reconciliation.go -destination=mocks/reconciliation.go -package=mocks
//go:generate go tool mockgen -source=decisions.go -destination=mocks/decisions.go -package=mocks
//go:generate go tool mockgen -source=subscribers.go -destination=mocks/subscribers.go -package=mocks

package systemtest

import "accord/app/config"

// unlimited takes limits away that only keep one caller from asking too often.
func unlimited(cfg *config.Config) {
	cfg.Inbox.RefreshBurst = 1 << 20
	s, off := &cfg.Security, config.RateLimit{}
	s.RateCustomer, s.RateChanges, s.RateEvents, s.RateAddress, s.RateLink = off, off, off, off, off
}

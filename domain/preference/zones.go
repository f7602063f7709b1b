package preference

import (
	"regexp"
	"sync"
	"time"
	_ "time/tzdata" // so that a container without the database knows the zones too
)

// The rules of the world's time zones are constants to the domain: it looks them up by name and nothing else. Those that
// were asked for are kept; there are some hundred.
var zones sync.Map // name to *time.Location

// zoneName leaves out what the machine's database has beside names of zones ("localtime", "posix/…"), and "Local".
var zoneName = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$`)

func zoneOf(name string) (*time.Location, bool) {
	if kept, ok := zones.Load(name); ok {
		zone, is := kept.(*time.Location)
		return zone, is
	}
	if name == "Local" || !zoneName.MatchString(name) {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, false
	}
	zones.Store(name, zone)
	return zone, true
}

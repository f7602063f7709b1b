package postgres

// Word for connected clients is written by the statement that makes the change, as one more part of it, so that there is
// word of exactly what was committed. It carries versions and no content:
//
//	{"own":12}    of one inbox, whose own version is 12 now
//	{"global":7}  of everybody's, as the version of the globals is 7 now
//	{}            of several inboxes at once: each has its own version
//
// A version may be the one there was: nothing is different yet, but time will make it so sooner than was known.
//
// Relays in every process read it; see Listen.

// wordOfInboxes is the part of a statement that tells of the inboxes in another part, which has columns viewer and version.
func wordOfInboxes(part string) string {
	return `INSERT INTO stream_events (viewers, kind, data)
		SELECT array_agg(viewer), 'inbox.changed', CASE count(*) WHEN 1 THEN jsonb_build_object('own', max(version)) ELSE '{}' END
		FROM ` + part + ` HAVING count(*) > 0`
}

// wordOfGlobals is the part of a statement that tells everybody of another part, which has a column version.
func wordOfGlobals(part string) string {
	return `INSERT INTO stream_events (viewers, kind, data)
		SELECT '{}', 'inbox.changed', jsonb_build_object('global', version) FROM ` + part
}

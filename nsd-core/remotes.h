/* Other name servers, as the configuration names them: their keys, and who may transfer what. */
#pragma once

#include "nsd-core/conf.h"
#include "nsd-core/tsig.h"

/* Reads the secrets of conf->tsig_keys; the list has their order. ST_EPARSE, ST_EACCES, ...: each
 * file that cannot be used is in d. */
enum status remotes_load_keys(const struct conf *conf, struct tsig_keys **out,
			      struct diags *d) MUST_USE;

/* Who asks for a zone, and how. */
struct remotes_client {
	const struct sockaddr *peer;
	const struct tsig_key *key; /* it signed with; NULL: it did not sign */
	bool tls;
};

/* May it transfer the zone? Where a secondary has a key the key decides, else its addresses. conf,
 * zone or peer NULL: nobody may.
 * *why, where not: a static phrase. */
bool remotes_admit(const struct conf *conf, const struct conf_zone *zone,
		   const struct tsig_keys *keys, const struct remotes_client *client,
		   const char **why);

/* Is 'peer' at the address, whatever its port, or in the range? */
bool conf_peer_matches(const struct conf_peer *p, const struct sockaddr *peer);
/* The same with its port: does what came from there come from it? */
bool conf_peer_is(const struct conf_peer *p, const struct sockaddr *from);

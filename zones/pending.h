/* What a frozen version must know until it succeeds its base: private to versions and drafts. */
#pragma once

#include "zones/version.h"

struct pending {
	struct version *base; /* referenced */
	struct retired
		added; /* nodes and RRsets that the draft made (pages are known by their stamp) */
	struct retired replaced; /* what only the base and older versions use */
};

/* Names to be gone through in canonical order, each once. Private to zones/. */
#pragma once

#include "nsd-core/base/name.h"

/* Sorted and without duplicates after name_list_sort(). */
struct name_list {
	const uint8_t **names; /* borrowed */
	size_t count;
	size_t room;
	size_t sorted; /* that many of the first are */
};

enum status name_list_add(struct name_list *l, const uint8_t *name) MUST_USE;
enum status name_list_sort(struct name_list *l) MUST_USE;
void name_list_fini(struct name_list *l);

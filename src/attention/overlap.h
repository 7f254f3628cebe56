// Whether views share memory. Conservative: two views whose byte ranges interleave count as overlapping, even where no
// element is shared; a view whose axes do not nest counts as overlapping itself.
#pragma once
#include "bareattn/tensor.h"

namespace bareattn::attend {

bool overlaps_itself(const ConstTensor& tensor);
bool may_overlap(const ConstTensor& a, const ConstTensor& b);

}  // namespace bareattn::attend

// See overlap.h.
#include "attention/overlap.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

namespace bareattn::attend {
namespace {

struct Range {
  uintptr_t begin, end;
};

Range range_of(const ConstTensor& tensor) {
  int64_t low = 0, high = 0;
  for (int axis = 0; axis < tensor.rank; ++axis)
    (tensor.stride[axis] < 0 ? low : high) += tensor.stride[axis] * (tensor.shape[axis] - 1);
  const auto base = reinterpret_cast<uintptr_t>(tensor.data);
  return {base + static_cast<uintptr_t>(low * bytes_of(tensor.dtype)),
          base + static_cast<uintptr_t>((high + 1) * bytes_of(tensor.dtype))};
}

}  // namespace

bool overlaps_itself(const ConstTensor& tensor) {
  if (tensor.size() == 0) return false;
  std::vector<std::pair<int64_t, int64_t>> axes;  // |stride|, extent
  for (int axis = 0; axis < tensor.rank; ++axis)
    if (tensor.shape[axis] > 1) axes.emplace_back(std::abs(tensor.stride[axis]), tensor.shape[axis]);
  std::sort(axes.begin(), axes.end());
  int64_t reach = 0;  // of the axes within
  for (const auto& [stride, extent] : axes) {
    if (stride <= reach) return true;
    reach += stride * (extent - 1);
  }
  return false;
}

bool may_overlap(const ConstTensor& a, const ConstTensor& b) {
  if (a.rank == 0 || b.rank == 0 || a.size() == 0 || b.size() == 0) return false;
  const Range x = range_of(a), y = range_of(b);
  return x.begin < y.end && y.begin < x.end;
}

}  // namespace bareattn::attend

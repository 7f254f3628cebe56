// See modify.h. Plain loops: every operation is one rounding, so the compiler may use any vector width. tanh is the
// library's; softcap models are rare enough that a faster one has not paid for itself.
#include "attention/modify.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace bareattn::attend {
namespace {

constexpr float hidden = -std::numeric_limits<float>::infinity();

// Where the span that stands at `begin` ends, eight keys at a time: key by key this was a fifth of the attention.
int64_t end_of_run(const uint8_t* span, int64_t begin, int64_t count) {
  const uint64_t alike = span[begin] * uint64_t{0x0101010101010101};
  int64_t end = begin + 1;
  for (uint64_t eight = 0; end + 8 <= count; end += 8) {
    std::memcpy(&eight, span + end, 8);
    if (eight != alike) break;
  }
  while (end < count && span[end] == span[begin]) ++end;
  return end;
}

}  // namespace

bool Modifier::nothing() const { return terms_.softcap == 0.0F && terms_.alibi_slopes.empty() && !masks(); }

void Modifier::apply(const Place& place, float* s, int64_t count) const {
  if (terms_.softcap != 0.0F)
    for (int64_t j = 0; j < count; ++j) s[j] = terms_.softcap * std::tanh(s[j] / terms_.softcap);
  if (!terms_.alibi_slopes.empty()) {
    const float slope = terms_.alibi_slopes[static_cast<size_t>(place.head)];
    for (int64_t j = 0; j < count; ++j) s[j] += slope * static_cast<float>(place.key + j - place.position);
  }
  if (terms_.bias != nullptr && !terms_.bias->value.empty()) {
    const SpanBias& bias = *terms_.bias;
    const int64_t row_span = bias.row_span[static_cast<size_t>(place.position)];
    const float* value =
        bias.value.data() + (place.head * bias.row_spans + row_span) * static_cast<int64_t>(bias.key_spans);
    const uint8_t* span = bias.key_span.data() + place.key;
    for (int64_t j = 0; j < count;) {  // runs of one span: a run whose term is 0 is left as it is
      const int64_t end = end_of_run(span, j, count);
      const float term = value[span[j]];
      if (term == hidden) {
        for (; j < end; ++j) s[j] = hidden;
      } else if (term != 0.0F) {
        for (; j < end; ++j) s[j] += term;
      }
      j = end;
    }
  }
  if (terms_.mask.kind == MaskView::Kind::boolean) {
    const uint8_t* seen = &terms_.mask.seen.at(place.head, place.row, place.key);
    const int64_t step = terms_.mask.seen.stride[2];
    for (int64_t j = 0; j < count; ++j) s[j] = seen[j * step] != 0 ? s[j] : hidden;
  } else if (terms_.mask.kind == MaskView::Kind::additive) {
    const float* term = &terms_.mask.additive.at(place.head, place.row, place.key);
    const int64_t step = terms_.mask.additive.stride[2];
    for (int64_t j = 0; j < count; ++j) s[j] = term[j * step] == hidden ? hidden : s[j] + term[j * step];
  }
  if (terms_.window >= 0) {
    const int64_t first = std::max(terms_.leading_keys, place.key);
    const int64_t last = std::min(place.position - terms_.window, place.key + count);
    if (first < last) std::fill_n(s + first - place.key, last - first, hidden);
  }
}

bool Modifier::hides(const Place& place) const {
  if (terms_.window >= 0 && place.key >= terms_.leading_keys && place.key < place.position - terms_.window) return true;
  if (terms_.bias != nullptr && !terms_.bias->value.empty()) {
    const SpanBias& bias = *terms_.bias;
    const int64_t row_span = bias.row_span[static_cast<size_t>(place.position)];
    const int64_t key_span = bias.key_span[static_cast<size_t>(place.key)];
    const int64_t at = (place.head * bias.row_spans + row_span) * bias.key_spans + key_span;
    if (bias.value[static_cast<size_t>(at)] == hidden) return true;
  }
  if (terms_.mask.kind == MaskView::Kind::boolean) return terms_.mask.seen.at(place.head, place.row, place.key) == 0;
  return terms_.mask.kind == MaskView::Kind::additive &&
         terms_.mask.additive.at(place.head, place.row, place.key) == hidden;
}

}  // namespace bareattn::attend

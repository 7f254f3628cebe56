// The vector side of elementwise.h, compiled once per instruction set by Highway and chosen at run time. Instruction
// sets without a fused multiply-add run the scalar twin. Where to go next: elementwise_reference.cc is the contract.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cc"
// Without a fused multiply-add there is no contract to keep: those machines run the scalar twin.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
// clang-format off
#include <hwy/foreach_target.h>  // IWYU pragma: keep, must come before highway.h
// clang-format on
#include "kernels/elementwise.h"

#include <hwy/highway.h>

#include "kernels/exp-inl.h"
#include "kernels/tree.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_NATIVE_FMA
using Tag = hn::CappedTag<float, 16>;

void RmsNorm(const float* x, const float* weight, int64_t width, float epsilon, float* y) {
  const Tag d;
  constexpr int n = static_cast<int>(hn::MaxLanes(Tag()));
  constexpr int vectors = 16 / n;
  hn::Vec<Tag> sum[vectors];
  for (auto& s : sum) s = hn::Zero(d);
  int64_t i = 0;
  for (; i + 16 <= width; i += 16) {
    for (int v = 0; v < vectors; ++v) {
      const auto value = hn::LoadU(d, x + i + v * n);
      sum[v] = hn::MulAdd(value, value, sum[v]);
    }
  }
  float lane[16];
  for (int v = 0; v < vectors; ++v) hn::StoreU(sum[v], d, lane + v * n);
  for (int64_t j = i; j < width; ++j) lane[j - i] = __builtin_fmaf(x[j], x[j], lane[j - i]);
  const float scale = 1.0F / __builtin_sqrtf(tree_sum(lane) / static_cast<float>(width) + epsilon);
  const auto s = hn::Set(d, scale);
  for (i = 0; i + n <= width; i += n)
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), s), hn::LoadU(d, weight + i)), d, y + i);
  for (; i < width; ++i) y[i] = x[i] * scale * weight[i];
}

void RotatePairs(float* x, const float* cosine, const float* sine, int64_t dim) {
  const Tag d;
  constexpr int64_t n = static_cast<int64_t>(hn::MaxLanes(Tag()));
  int64_t i = 0;
  for (; i + n <= dim; i += n) {
    const auto value = hn::LoadU(d, x + i);
    const auto straight = hn::Mul(value, hn::LoadU(d, cosine + i));
    const auto crossed = hn::Mul(hn::Shuffle2301(value), hn::LoadU(d, sine + i));
    hn::StoreU(hn::Add(straight, crossed), d, x + i);
  }
  reference::rotate_pairs(x + i, cosine + i, sine + i, dim - i);
}

void SiluMultiply(const float* gate, const float* up, int64_t count, float* y) {
  const Tag d;
  constexpr int64_t n = static_cast<int64_t>(hn::MaxLanes(Tag()));
  const auto one = hn::Set(d, 1.0F);
  int64_t i = 0;
  for (; i + n <= count; i += n) {
    const auto g = hn::LoadU(d, gate + i);
    const auto small = ExpBelow(d, hn::Neg(hn::Abs(g)));
    const auto numerator = hn::IfThenElse(hn::Lt(g, hn::Zero(d)), small, one);
    const auto share = hn::Div(numerator, hn::Add(one, small));
    hn::StoreU(hn::Mul(hn::Mul(g, share), hn::LoadU(d, up + i)), d, y + i);
  }
  reference::silu_multiply(gate + i, up + i, count - i, y + i);
}

void Add(const float* x, int64_t count, float* y) {
  const Tag d;
  constexpr int64_t n = static_cast<int64_t>(hn::MaxLanes(Tag()));
  int64_t i = 0;
  for (; i + n <= count; i += n) hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i);
  for (; i < count; ++i) y[i] += x[i];
}
#else
void RmsNorm(const float* x, const float* weight, int64_t width, float epsilon, float* y) {
  reference::rms_norm(x, weight, width, epsilon, y);
}
void RotatePairs(float* x, const float* cosine, const float* sine, int64_t dim) {
  reference::rotate_pairs(x, cosine, sine, dim);
}
void SiluMultiply(const float* gate, const float* up, int64_t count, float* y) {
  reference::silu_multiply(gate, up, count, y);
}
void Add(const float* x, int64_t count, float* y) { reference::add(x, count, y); }
#endif

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bareattn::kernels {
HWY_EXPORT(RmsNorm);
HWY_EXPORT(RotatePairs);
HWY_EXPORT(SiluMultiply);
HWY_EXPORT(Add);

void rms_norm(const float* x, const float* weight, int64_t width, float epsilon, float* y) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(x, weight, width, epsilon, y);
}
void rotate_pairs(float* x, const float* cosine, const float* sine, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(RotatePairs)(x, cosine, sine, dim);
}
void silu_multiply(const float* gate, const float* up, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(SiluMultiply)(gate, up, n, y);
}
void add(const float* x, int64_t n, float* y) { HWY_DYNAMIC_DISPATCH(Add)(x, n, y); }

}  // namespace bareattn::kernels
#endif  // HWY_ONCE

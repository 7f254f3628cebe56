// Compiles the backward kernels once per instruction set. Which one is used is dispatch.cc's.
#include "kernels/backward.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/backward.cc"
// Without a fused multiply-add there is no contract to keep: those machines run the scalar twin (as in fast.cc).
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

#include "kernels/backward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {

const BackwardKernels* Backward() {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
  static const BackwardKernels kernels = {BlendTransposedAny, SoftmaxBackwardAny, DotAny, ScaleRowAny, AddScaledAny};
  return &kernels;
#else
  return nullptr;
#endif
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bareattn::kernels {

HWY_EXPORT(Backward);

const BackwardKernels* fast_backward() { return HWY_DYNAMIC_DISPATCH(Backward)(); }

}  // namespace bareattn::kernels
#endif

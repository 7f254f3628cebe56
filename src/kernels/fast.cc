// Compiles the vector kernels once per instruction set and hands out their tables. Which one is used is dispatch.cc's.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fast.cc"
// Without a fused multiply-add there is no contract to keep: those machines run the scalar twin.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include "kernels/fast.h"

#include <hwy/highway.h>

#include "kernels/finish-inl.h"
#include "kernels/softmax-inl.h"
#include "kernels/states-inl.h"
#include "kernels/tile-inl.h"
#include "kernels/tile_bf16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {

const KernelTable* Table() {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
  static const KernelTable table = {HWY_TARGET == HWY_AVX3   ? "avx512"
                                    : HWY_TARGET == HWY_AVX2 ? "avx2"
                                                             : "neon",
                                    ScoreTileAny,
                                    SoftmaxRowsAny,
                                    BlendAny,
                                    MergeStatesAny,
                                    JoinStatesAny,
                                    ExpBelowAny,
                                    MergeAny,
                                    DivideAny,
                                    FinishRowsAny,
                                    RunSumsAny,
                                    PoolRowsAny,
                                    ScoreTileBf16Emulated,
                                    BlendBf16Emulated,
                                    NarrowBf16};
  return &table;
#else
  return nullptr;
#endif
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bareattn::kernels {

HWY_EXPORT(Table);

const KernelTable* fast_table() { return HWY_DYNAMIC_DISPATCH(Table)(); }

}  // namespace bareattn::kernels
#endif

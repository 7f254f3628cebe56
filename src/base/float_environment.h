// The floating-point environment that the arithmetic contract assumes: round to nearest, denormals kept. A caller may
// have set another (flush-to-zero is common in audio and inference code); inside this scope it has no influence, and
// afterwards it is as it was. Costs about 10 ns.
#pragma once
#include <cfenv>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "-ffast-math (or -ffinite-math-only) takes NaN and infinity away: the arithmetic contract cannot be kept"
#endif

namespace bareattn::base {

class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
#if defined(__x86_64__)
    saved_ = _mm_getcsr();
    _mm_setcsr(0x1F80);  // all exceptions masked, nearest even, neither FTZ nor DAZ
#else
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
#endif
  }
  ~DefaultFloatEnvironment() {
#if defined(__x86_64__)
    _mm_setcsr(saved_);
#else
    std::fesetenv(&saved_);
#endif
  }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
#if defined(__x86_64__)
  unsigned saved_;
#else
  std::fenv_t saved_;
#endif
};

/// A result that is computed inside the scope: without it the compiler may move an operation past the scope's end, for
/// it knows of no tie between the two.
inline double settled(double result) {
  volatile double kept = result;
  return kept;
}

}  // namespace bareattn::base

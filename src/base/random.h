// splitmix64 (Steele, Lea, Flood 2014): the whole state is one counter, so a seed says everything, on every machine.
// For sampling and for recipes that draw their samples; not for secrets.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace bareattn::base {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  /// An independent stream for each path of numbers under one seed: (seed, recipe, sample).
  SplitMix64(uint64_t seed, std::initializer_list<uint64_t> path) : state_(seed) {
    for (const uint64_t step : path) state_ = next() ^ (step * 0xd1342543de82ef95U + 1);
  }
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  /// In [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// In [0, count), count >= 1; the bias is below count 2^-53.
  int64_t below(int64_t count) { return static_cast<int64_t>(uniform() * static_cast<double>(count)); }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (auto i = static_cast<int64_t>(items.size()) - 1; i > 0; --i) {
      std::swap(items[static_cast<size_t>(i)], items[static_cast<size_t>(below(i + 1))]);
    }
  }

 private:
  uint64_t state_;
};

}  // namespace bareattn::base

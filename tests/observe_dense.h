// One head's attention in double, dense and slow, from f32 Q [N, D] and K [N, D]: the definition that the streaming
// measures are held against; and the Q and K of a run, to make it from. Tests only; N x N memory.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "bareattn/model.h"

namespace bareattn::test {

/// Q and K of every head as attention sees them, [N, D] by layer and head.
class QkRecorder final : public Observer {
 public:
  bool wants(Point p, int) override { return p == Point::rot_q || p == Point::rot_k; }
  void see(const Event& event) override {
    for (int64_t h = 0; h < event.values.shape[1]; ++h)
      for (int64_t i = 0; i < event.values.shape[0]; ++i)
        for (int64_t d = 0; d < event.values.shape[2]; ++d)
          (event.point == Point::rot_q ? q : k)[{event.layer, static_cast<int>(h)}].push_back(event.values.at(i, h, d));
  }
  std::map<std::pair<int, int>, std::vector<float>> q, k;
};

struct DenseHead {
  int64_t length = 0;
  std::vector<std::vector<double>> logits;   // row i: [i + 1]
  std::vector<std::vector<double>> weights;  // row i: [i + 1]
  std::vector<double> lse, entropy;          // [N]
  std::vector<double> logit_error;           // [N]: bound on a logit made in f32: 2 D 2^-24 scale max_j sum |q k|
};

inline DenseHead dense_head(const float* q, const float* k, int64_t length, int dim) {
  DenseHead dense;
  dense.length = length;
  const double scale = 1 / std::sqrt(static_cast<double>(dim));
  for (int64_t i = 0; i < length; ++i) {
    std::vector<double> s(i + 1);
    double size = 0;
    for (int64_t j = 0; j <= i; ++j) {
      double dot = 0, absolute = 0;
      for (int d = 0; d < dim; ++d) {
        const double product = double{q[i * dim + d]} * k[j * dim + d];
        dot += product;
        absolute += std::abs(product);
      }
      s[j] = dot * scale;
      size = std::max(size, absolute * scale);
    }
    const double top = *std::max_element(s.begin(), s.end());
    double sum = 0;
    for (const double x : s) sum += std::exp(x - top);
    const double lse = top + std::log(sum);
    std::vector<double> p(i + 1);
    double entropy = 0;
    for (int64_t j = 0; j <= i; ++j) {
      p[j] = std::exp(s[j] - lse);
      if (p[j] > 0) entropy -= p[j] * (s[j] - lse);
    }
    dense.logits.push_back(std::move(s));
    dense.weights.push_back(std::move(p));
    dense.lse.push_back(lse);
    dense.entropy.push_back(entropy);
    dense.logit_error.push_back(2.0 * dim * 0x1p-24 * size);
  }
  return dense;
}

}  // namespace bareattn::test

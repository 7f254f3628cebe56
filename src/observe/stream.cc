// measure_stream: an observer of the stream after each layer. Layers come one after the other (run_by_layer), so one
// layer's stream is held at a time. Sums in double, in the order of rows and dimensions. See stream.h.
#include "bareattn/stream.h"

#include <algorithm>
#include <cmath>

#include "bareattn/points.h"
#include "base/float_environment.h"

namespace bareattn {
namespace {

class StreamObserver final : public Observer {
 public:
  StreamObserver(int layers, int64_t length, int64_t width)
      : measured(static_cast<size_t>(layers)),
        length_(length),
        width_(width),
        x_(static_cast<size_t>(length * width)) {}
  bool wants(Point point, int) override { return point == Point::resid_post; }
  void see(const Event& event) override {
    const int64_t rows = event.values.shape[0];
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = event.values.data + i * event.values.stride[0];
      std::copy(from, from + width_, x_.begin() + (event.first_row + i) * width_);
    }
    if (event.first_row + rows == length_) measure(measured[static_cast<size_t>(event.layer)]);
  }

  std::vector<StreamLayer> measured;

 private:
  void measure(StreamLayer& layer) {
    std::vector<double> mean(static_cast<size_t>(width_));
    double size = 0, apart = 0;
    for (int64_t i = 0; i < length_; ++i)
      for (int64_t d = 0; d < width_; ++d) {
        const float x = x_[static_cast<size_t>(i * width_ + d)];
        mean[static_cast<size_t>(d)] += double{x} / static_cast<double>(length_);
        size += double{x} * double{x};
        if ((i == 0 && d == 0) || std::abs(x) > std::abs(layer.largest.value)) layer.largest = {i, d, x};
      }
    for (int64_t i = 0; i < length_; ++i)
      for (int64_t d = 0; d < width_; ++d) {
        const double rest = double{x_[static_cast<size_t>(i * width_ + d)]} - mean[static_cast<size_t>(d)];
        apart += rest * rest;
      }
    layer.rank_residual = std::sqrt(apart / size);
    layer.median = median();
    const double limit = std::max(massive_magnitude, massive_ratio * layer.median);
    for (int64_t i = 0; i < length_; ++i) {
      const auto row = x_.begin() + i * width_;
      const auto count = std::count_if(row, row + width_, [&](float x) { return std::abs(double{x}) > limit; });
      if (count > 0) layer.tokens.push_back(i);
      layer.massive += count;
    }
  }
  /// Of the magnitudes; the mean of the two in the middle of an even number. NaN counts as largest.
  double median() const {
    std::vector<float> sizes(x_.size());
    std::transform(x_.begin(), x_.end(), sizes.begin(), [](float x) { return std::isnan(x) ? INFINITY : std::abs(x); });
    const auto middle = sizes.begin() + static_cast<int64_t>(sizes.size() / 2);
    std::nth_element(sizes.begin(), middle, sizes.end());
    if (sizes.size() % 2 == 1) return double{*middle};
    return (double{*middle} + double{*std::max_element(sizes.begin(), middle)}) / 2;
  }

  int64_t length_, width_;
  std::vector<float> x_;  // [N, W]
};

}  // namespace

std::vector<StreamLayer> measure_stream(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens,
                                        int threads, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  const ModelConfig& config = model->config();
  SessionOptions options;
  options.threads = threads;
  StreamObserver observer(config.layers, static_cast<int64_t>(tokens.size()), config.width);
  run_by_layer(model, tokens, observer, options, progress);
  return std::move(observer.measured);
}

}  // namespace bareattn

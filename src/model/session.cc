// A run of a model: cuts the new tokens into chunks, takes each through the layers, and keeps keys and values for what
// comes after. Whatever goes wrong on the way (a wrong token, a stop, no memory, an observer that throws), the session
// is as it was before. Where to go next: layer.h.
#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "base/float_environment.h"
#include "base/thread_pool.h"
#include "model/intervention.h"
#include "model/layer.h"
#include "model/loaded_model.h"

namespace bareattn {

using model::Pass;
using model::Rows;

struct Session::Impl {
  Impl(std::shared_ptr<const model::LoadedModel> loaded, const SessionOptions& options);

  const model::AttentionSteps& steps() const {
    return intervention ? static_cast<const model::AttentionSteps&>(*intervention) : plain;
  }
  void check(std::span<const int32_t> tokens) const;
  void prepare(int64_t rows);
  void run_chunk(Pass& pass, std::span<const int32_t> tokens, const std::function<void(int)>& layer_done);
  void resize(int64_t length);

  std::shared_ptr<const model::LoadedModel> model;
  base::ThreadPool pool;
  int64_t capacity;
  int64_t chunk;
  int64_t length = 0;
  model::RopeTables rope;
  model::AttentionSteps plain;
  std::optional<model::Intervention> intervention;
  ScoreRules rules;
  std::vector<attend::KvCache> caches;  // per layer
  std::unique_ptr<model::Workspace> work;
  int64_t work_rows = 0;
  std::vector<float> logits;  // [rows, V]
};

namespace {

std::shared_ptr<const model::LoadedModel> loaded(const std::shared_ptr<const Model>& any) {
  auto model = std::dynamic_pointer_cast<const model::LoadedModel>(any);
  if (model == nullptr) throw std::invalid_argument("Session: model is null or was not made by Model::load");
  return model;
}

void check_not_negative(const char* what, int64_t value) {
  if (value < 0)
    throw std::invalid_argument(std::string("Session: ") + what + " is " + std::to_string(value) +
                                "; 0 or more is needed");
}

}  // namespace

Session::Impl::Impl(std::shared_ptr<const model::LoadedModel> from, const SessionOptions& options)
    : model(std::move(from)),
      pool(options.threads),
      capacity(options.max_tokens == 0 ? model->config().context_length : options.max_tokens),
      chunk(options.chunk == 0 ? SessionOptions().chunk : options.chunk),
      rope(model->architecture(), model->weights().rope_factors,
           options.reach.beyond == Beyond::scale ? position_scale(model->config(), capacity, Beyond::scale) : 1.0) {
  const Architecture& config = model->architecture();
  if (options.table != nullptr || options.variant != nullptr) {
    intervention.emplace(config, options.table, options.variant);
    if (options.reach.window >= 0 && intervention->has_window())
      throw std::invalid_argument("Session: a window of the run (reach) and one of the table cannot be had at once");
    const bool scaled = options.reach.beyond == Beyond::scale;
    rope = intervention->rope_of(rope, model->weights().rope_factors,
                                 scaled ? position_scale(config, capacity, Beyond::scale) : 1.0);
  }
  rules = ScoreRules(model->architecture(), options.reach, intervention ? intervention->table() : nullptr, capacity);
  const int kv_heads = intervention ? intervention->cache_heads() : config.kv_heads;
  for (int layer = 0; layer < config.layers; ++layer)
    caches.emplace_back(kv_heads, config.head_dim, config.head_dim, model::cache_storage(*model));
}

void Session::Impl::check(std::span<const int32_t> tokens) const {
  const int32_t vocabulary = model->config().vocab_size;
  const auto wrong = std::find_if(tokens.begin(), tokens.end(), [&](int32_t t) { return t < 0 || t >= vocabulary; });
  if (wrong != tokens.end()) {
    throw InputError("token " + std::to_string(wrong - tokens.begin()) + " is id " + std::to_string(*wrong) +
                     "; the vocabulary has ids 0 to " + std::to_string(vocabulary - 1));
  }
  const auto count = static_cast<int64_t>(tokens.size());
  if (count > capacity - length) {
    throw InputError(std::to_string(count) + " tokens after " + std::to_string(length) +
                     " are too many: there is room for " + std::to_string(capacity) +
                     " (the model was trained on up to " + std::to_string(model->config().context_length) + ")");
  }
}

void Session::Impl::prepare(int64_t rows) {
  if (rows <= work_rows) return;
  work = std::make_unique<model::Workspace>(model->architecture(), model->weights(), rows);
  work_rows = rows;
}

void Session::Impl::resize(int64_t to) {
  for (attend::KvCache& cache : caches) cache.resize(to);
  length = to;
}

void Session::Impl::run_chunk(Pass& pass, std::span<const int32_t> tokens, const std::function<void(int)>& layer_done) {
  pass.first_row = length;
  pass.rows = static_cast<int64_t>(tokens.size());
  rope.grow(length + pass.rows + (intervention ? intervention->extra_positions() : 0));
  resize(length + pass.rows);
  model::embed(pass, tokens, pass.first_row, work->x, 0);
  pass.watch.see(Point::embed, -1, pass.first_row, work->x.view(pass.rows));
  for (int layer = 0; layer < pass.architecture.layers; ++layer) {
    model::run_layer(pass, layer, caches[static_cast<size_t>(layer)], *work);
    layer_done(layer);
  }
}

Session::Session(std::shared_ptr<const Model> model, const SessionOptions& options) {
  const base::DefaultFloatEnvironment environment;
  check_not_negative("threads", options.threads);
  check_not_negative("max_tokens", options.max_tokens);
  check_not_negative("chunk", options.chunk);
  if (options.reach.window != -1) check_not_negative("reach.window", options.reach.window);
  check_not_negative("reach.sinks", options.reach.sinks);
  impl_ = std::make_unique<Impl>(loaded(model), options);
}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

int64_t Session::length() const { return impl_->length; }
int64_t Session::capacity() const { return impl_->capacity; }
const Model& Session::model() const { return *impl_->model; }

void Session::truncate(int64_t length) {
  if (length < 0 || length > impl_->length) {
    throw std::invalid_argument("truncate: length is " + std::to_string(length) + "; 0 to " +
                                std::to_string(impl_->length) + " is needed");
  }
  impl_->resize(length);
}

TensorView<const float> Session::run(std::span<const int32_t> tokens, Logits logits, Observer* observer,
                                     const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  Impl& self = *impl_;
  const Architecture& config = self.model->architecture();
  const int64_t vocabulary = config.vocab_size;
  const auto total = static_cast<int64_t>(tokens.size());
  self.check(tokens);
  const int64_t before = self.length;
  const int64_t rows = logits == Logits::none ? 0 : logits == Logits::last ? std::min<int64_t>(total, 1) : total;
  try {
    self.prepare(std::min(self.chunk, total));
    self.logits.resize(static_cast<size_t>(rows * vocabulary));
    const model::Watch watch(observer, config.layers);
    Pass pass{config, self.model->weights(), self.rope, watch, self.pool, self.rules, self.steps()};
    if (self.intervention) self.intervention->begin_run(before);
    const auto report = [&](int64_t done) {
      if (progress && !progress(done, total)) throw Cancelled();
    };
    for (int64_t done = 0; done < total;) {
      const int64_t count = std::min(self.chunk, total - done);
      const auto layer_done = [&](int layer) {
        if (layer + 1 < config.layers) report(done + count * (layer + 1) / (config.layers + 1));
      };
      self.run_chunk(pass, tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(count)), layer_done);
      if (logits == Logits::all)
        model::unembed(pass, self.work->x, {0, count}, self.work->normed, self.logits.data() + done * vocabulary);
      done += count;
      if (logits == Logits::last && done == total)
        model::unembed(pass, self.work->x, {count - 1, 1}, self.work->normed, self.logits.data());
      report(done);
    }
  } catch (...) {
    self.resize(before);
    throw;
  }
  return {self.logits.data(), {rows, vocabulary}};
}

}  // namespace bareattn

// TraceWriter: a run goes to disk as it is made. Each chunk's Q, K and row statistics are written to their places at
// once; what adds up over rows (weight received, the map) is held per layer and written when the layer's last row is
// done. Layers may come from different threads; one layer comes from one thread at a time.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <stdexcept>

#include "bareattn/attention.h"
#include "bareattn/error.h"
#include "bareattn/score_table.h"
#include "base/aligned.h"
#include "base/float_environment.h"
#include "base/page_sums.h"
#include "base/thread_pool.h"
#include "kernels/convert.h"
#include "observe/output_watch.h"
#include "observe/recorder.h"
#include "trace/trace_format.h"

namespace bareattn {

using namespace observing;  // NOLINT: this file is that floor's

namespace {

void require(bool ok, const std::string& sentence) {
  if (!ok) throw std::invalid_argument("TraceWriter: " + sentence);
}

TraceFacts facts_of(const Model& model, const std::vector<int32_t>& tokens, const TraceOptions& options) {
  if (tokens.empty()) throw InputError("the text is empty: there is nothing to attend to");
  require(options.pool_block == 0 || is_pool_block(options.pool_block),
          "pool_block: needs 1, 2, 4, 8 or a multiple of 16, got " + std::to_string(options.pool_block));
  TraceFacts facts;
  facts.config = model.architecture();
  facts.precision = model.precision();
  facts.attention = model.attention();
  facts.parameters = model.parameters();
  facts.model_file = model.path().substr(model.path().rfind('/') + 1);
  facts.model_sha256 = model.sha256();
  facts.engine = BAREATTN_VERSION;
  facts.title = options.title;
  facts.spans = options.spans;
  if (options.table && has_window(*options.table))
    throw InputError("a trace cannot hold steering that has a window; a window of the run (--window) it can");
  const ModelConfig& c = facts.config;
  const auto count = static_cast<int64_t>(tokens.size());
  const int block = options.pool_block != 0 ? options.pool_block : choose_pool_block(count);
  const auto sets = span_sets(facts.spans, count);  // refuses
  facts.shape = {.layers = c.layers,
                 .heads = c.heads,
                 .kv_heads = c.kv_heads,
                 .head_dim = c.head_dim,
                 .tokens = count,
                 .pool_block = options.measures.map ? block : 0,
                 .groups = options.measures,
                 .span_sets = options.measures.spans ? static_cast<int>(sets.size()) : 0,
                 .row_spans = options.table ? options.table->row_spans : 0,
                 .key_spans = options.table ? options.table->key_spans : 0,
                 .store = options.store};
  for (const int32_t id : tokens) {
    if (id < 0 || id >= model.tokenizer().size()) {
      throw InputError(fmt::format("token id {}: the vocabulary has {}", id, model.tokenizer().size()));
    }
    facts.shape.text_bytes += static_cast<int64_t>(model.tokenizer().piece(id).size());
  }
  return facts;
}

// What adds up over a layer's rows.
struct LayerSums {
  base::AlignedBuffer received, pool_sum, pool_max;  // [Hq, N] u64, [Hq, cells] u64, f32
};

// The statistics of one layer's chunk, each array [Hq, rows].
struct Chunk {
  int64_t first_row = 0, rows = 0;
  std::vector<float> values;  // [arrays, Hq, rows]; max_key's bits are int32
  AttentionStatistics statistics;
};

}  // namespace

struct TraceWriter::Impl {
  Impl(const std::string& path, const Model& model, const std::vector<int32_t>& tokens, const TraceOptions& options)
      : facts(facts_of(model, tokens, options)),
        file(path, trace_tensors(facts.shape), metadata_of(facts)),
        body(file.tensor("checksums").end),
        sums(file.tensor("text").end - body),
        layers(static_cast<size_t>(facts.shape.layers)),
        chunks(layers.size()),
        outputs(model, facts.shape.tokens, facts.shape.groups),
        arrays(row_arrays(facts.shape.groups)),
        next_row(layers.size()),
        q_rows(layers.size()),
        k_rows(layers.size()),
        v_rows(layers.size()),
        z_rows(layers.size()) {
    if (facts.shape.span_sets != 0)
      key_columns = span_columns(span_sets(facts.spans, facts.shape.tokens), facts.shape.tokens);
    std::string text;
    std::vector<int64_t> offsets{0};
    for (const int32_t id : tokens) {
      text += model.tokenizer().piece(id);
      offsets.push_back(static_cast<int64_t>(text.size()));
    }
    put(file.tensor("text"), 0, std::as_bytes(std::span(text)));
    put(file.tensor("text_offsets"), 0, std::as_bytes(std::span(offsets)));
    put(file.tensor("tokens"), 0, std::as_bytes(std::span(tokens)));
    if (options.table) put_table(*options.table);
  }

  /// What the table does to scores, whole: layers it leaves alone get zeros and ones.
  void put_table(const ScoreTable& table) {
    const auto depth = static_cast<size_t>(facts.shape.layers), heads = static_cast<size_t>(facts.shape.heads);
    require(table.layers.size() == depth && table.heads == facts.shape.heads, "the table is of another model");
    const size_t cells = heads * static_cast<size_t>(table.row_spans) * static_cast<size_t>(table.key_spans);
    std::vector<float> value, scale;
    for (const LayerTable& layer : table.layers) {
      value.insert(value.end(), layer.value.begin(), layer.value.end());
      if (layer.value.empty()) value.resize(value.size() + cells, 0.0F);
      scale.insert(scale.end(), layer.head_scale.begin(), layer.head_scale.end());
      if (layer.head_scale.empty()) scale.resize(scale.size() + heads, 1.0F);
    }
    require(value.size() == depth * cells && scale.size() == depth * heads, "an array of the table is not whole");
    put(file.tensor("steer_value"), 0, std::as_bytes(std::span(value)));
    put(file.tensor("steer_scale"), 0, std::as_bytes(std::span(scale)));
    for (auto [name, spans] : {std::pair{"steer_row_span", table.row_span}, {"steer_key_span", table.key_span}}) {
      spans.resize(static_cast<size_t>(facts.shape.tokens));  // positions past the table's belong to span 0
      put(file.tensor(name), 0, std::as_bytes(std::span(spans)));
    }
  }

  std::vector<int64_t>& rows_of(Point point) {
    return point == Point::rot_q ? q_rows : point == Point::rot_k ? k_rows : point == Point::v ? v_rows : z_rows;
  }

  void put(const StoredTensor& tensor, int64_t offset, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex);
    file.write(tensor, static_cast<uint64_t>(offset), bytes);
    sums.add(tensor.begin - body + static_cast<uint64_t>(offset), bytes);
  }

  // values [rows, heads, D] of one layer to [heads, N, D].
  void put_vectors(const StoredTensor& tensor, const Event& event) {
    const TensorView<const float>& v = event.values;
    const int64_t rows = v.shape[0], dim = v.shape[2], width = store_bytes(facts.shape.store);
    std::vector<float> dense(static_cast<size_t>(rows * dim));
    std::vector<uint16_t> narrow(facts.shape.store == Store::f32 ? 0 : dense.size());
    for (int64_t head = 0; head < v.shape[1]; ++head) {
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t d = 0; d < dim; ++d) dense[static_cast<size_t>(i * dim + d)] = v.at(i, head, d);
      std::span<const std::byte> bytes = std::as_bytes(std::span(dense));
      if (!narrow.empty()) {
        facts.shape.store == Store::f16 ? kernels::f16_from_f32(dense.data(), narrow.data(), rows * dim)
                                        : kernels::bf16_from_f32(dense.data(), narrow.data(), rows * dim);
        bytes = std::as_bytes(std::span(narrow));
      }
      put(tensor, (head * facts.shape.tokens + event.first_row) * dim * width, bytes);
    }
  }

  void put_statistics(int layer) {
    Chunk& chunk = chunks[static_cast<size_t>(layer)];
    const float* from = chunk.values.data();
    for (const RowArray& array : arrays) {
      const StoredTensor& tensor = file.tensor(array.name);
      for (int64_t head = 0; head < facts.shape.heads; ++head, from += chunk.rows)
        put(tensor, ((int64_t{layer} * facts.shape.heads + head) * facts.shape.tokens + chunk.first_row) * 4,
            std::as_bytes(std::span(from, static_cast<size_t>(chunk.rows))));
    }
    for (int64_t set = 0; set < facts.shape.span_sets; ++set)
      for (int64_t head = 0; head < facts.shape.heads; ++head, from += chunk.rows) {
        const int64_t line = (int64_t{layer} * facts.shape.heads + head) * facts.shape.span_sets + set;
        put(file.tensor("span_mass"), (line * facts.shape.tokens + chunk.first_row) * 4,
            std::as_bytes(std::span(from, static_cast<size_t>(chunk.rows))));
      }
    next_row[static_cast<size_t>(layer)] = chunk.first_row + chunk.rows;
    if (next_row[static_cast<size_t>(layer)] == facts.shape.tokens) put_sums(layer);
  }

  void put_fixed(const char* name, int layer, const base::AlignedBuffer& fixed, int64_t count) {
    std::vector<double> values(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = from_fixed(fixed.as<uint64_t>()[i]);
    put(file.tensor(name), int64_t{layer} * count * 8, std::as_bytes(std::span(values)));
  }

  void put_sums(int layer) {
    LayerSums& of = layers[static_cast<size_t>(layer)];
    const int64_t cells = facts.shape.heads * facts.shape.cells();
    if (facts.shape.groups.columns) put_fixed("received", layer, of.received, facts.shape.heads * facts.shape.tokens);
    if (facts.shape.pool_block != 0) {
      put_fixed("pool_sum", layer, of.pool_sum, cells);
      put(file.tensor("pool_max"), int64_t{layer} * cells * 4,
          std::as_bytes(std::span(of.pool_max.as<float>(), static_cast<size_t>(cells))));
    }
    of = {};
    chunks[static_cast<size_t>(layer)] = {};
  }

  void put_carried(const Event& event) {
    const std::vector<float> sizes = outputs.carried(event);  // [Hq, rows]
    const int64_t rows = event.values.shape[0];
    for (int64_t head = 0; head < facts.shape.heads; ++head)
      put(file.tensor("carried"),
          ((int64_t{event.layer} * facts.shape.heads + head) * facts.shape.tokens + event.first_row) * 4,
          std::as_bytes(std::span(sizes.data() + head * rows, static_cast<size_t>(rows))));
  }

  void put_cosines(const Event& event) {
    outputs.add(event);
    if (event.first_row + event.values.shape[0] != facts.shape.tokens) return;
    const std::vector<float>& cosines = outputs.cosines(event.layer);
    put(file.tensor("output_cosine"), int64_t{event.layer} * static_cast<int64_t>(cosines.size()) * 4,
        std::as_bytes(std::span(cosines)));
  }

  const AttentionStatistics* hand_out(int layer, int64_t first_row, int64_t rows) {
    const auto at = static_cast<size_t>(layer);
    const TraceShape& shape = facts.shape;
    LayerSums& of = layers[at];
    Chunk& chunk = chunks[at];
    if (first_row == 0) {
      if (shape.groups.columns) of.received = base::AlignedBuffer(static_cast<size_t>(shape.heads * shape.tokens) * 8);
      if (shape.pool_block != 0) {
        of.pool_sum = base::AlignedBuffer(static_cast<size_t>(shape.heads * shape.cells()) * 8);
        of.pool_max = base::AlignedBuffer(static_cast<size_t>(shape.heads * shape.cells()) * 4);
      }
    }
    chunk.first_row = first_row;
    chunk.rows = rows;
    AttentionStatistics& s = chunk.statistics = {};
    s.row_stride = rows;
    chunk.values.resize((arrays.size() + static_cast<size_t>(shape.span_sets)) *
                        static_cast<size_t>(shape.heads * rows));
    float* to = chunk.values.data();
    for (const RowArray& array : arrays) {
      if (array.place != nullptr)
        s.*array.place = to;
      else
        s.max_key = reinterpret_cast<int32_t*>(to);
      to += shape.heads * rows;
    }
    if (shape.span_sets != 0) {
      s.columns = shape.span_sets;
      s.column_stride = shape.heads * rows;
      s.key_columns = key_columns.data();
      s.column_sums = to;
    }
    s.key_stride = shape.tokens;
    if (shape.groups.columns) s.received = of.received.as<uint64_t>();
    if (shape.pool_block != 0) {
      s.pool_block = shape.pool_block;
      s.pool_stride = shape.cells();
      s.pool_sum = of.pool_sum.as<uint64_t>();
      s.pool_max = of.pool_max.as<float>();
    }
    return &s;
  }

  TraceFacts facts;
  SafetensorsWriter file;
  uint64_t body;  // where what the checksums cover begins in the data section
  base::PageSums sums;
  std::mutex mutex;  // of file and sums
  std::vector<LayerSums> layers;
  std::vector<Chunk> chunks;
  OutputWatch outputs;
  std::vector<RowArray> arrays;                                   // of the groups
  std::vector<float> key_columns;                                 // [N, span sets]
  std::vector<int64_t> next_row, q_rows, k_rows, v_rows, z_rows;  // [L]: rows seen so far
};

TraceWriter::TraceWriter(const std::string& path, const Model& model, std::vector<int32_t> tokens,
                         const TraceOptions& options)
    : impl_(std::make_unique<Impl>(path, model, tokens, options)) {}
TraceWriter::~TraceWriter() = default;

bool TraceWriter::wants(Point point, int) {
  return impl_->outputs.wants(point) || point == Point::rot_q || point == Point::rot_k ||
         point == Point::attn_statistics;
}

void TraceWriter::see(const Event& event) {
  Impl& self = *impl_;
  const TraceShape& shape = self.facts.shape;
  require(event.layer >= 0 && event.layer < shape.layers, "an event of layer " + std::to_string(event.layer));
  if (event.point == Point::attn_statistics) return self.put_statistics(event.layer);
  const bool of_q = event.point == Point::rot_q || event.point == Point::z;
  const auto& v = event.values;
  int64_t& done = self.rows_of(event.point)[static_cast<size_t>(event.layer)];
  require(v.rank == 3 && v.shape[1] == (of_q ? shape.heads : shape.kv_heads) && v.shape[2] == shape.head_dim &&
              event.first_row == done && event.first_row + v.shape[0] <= shape.tokens,
          point_name(event.point, event.layer) + " is not of the run announced, or its rows are out of order");
  done += v.shape[0];
  if (event.point == Point::v) return self.put_carried(event);
  if (event.point == Point::z) return self.put_cosines(event);
  self.put_vectors(self.file.tensor(of_q ? q_name(event.layer) : k_name(event.layer)), event);
}

const AttentionStatistics* TraceWriter::attention_statistics(int layer, int64_t first_row, int64_t rows) {
  const TraceShape& shape = impl_->facts.shape;
  require(layer >= 0 && layer < shape.layers && rows >= 0 && first_row + rows <= shape.tokens &&
              first_row == impl_->next_row[static_cast<size_t>(layer)],
          fmt::format("rows [{}, {}) of layer {} are not of the run announced, or out of order", first_row,
                      first_row + rows, layer));
  return impl_->hand_out(layer, first_row, rows);
}

void TraceWriter::commit(const TraceRun& run) {
  Impl& self = *impl_;
  for (int layer = 0; layer < self.facts.shape.layers; ++layer) {
    const auto at = static_cast<size_t>(layer);
    int64_t done = std::min({self.next_row[at], self.q_rows[at], self.k_rows[at]});
    if (self.facts.shape.groups.values) done = std::min(done, self.v_rows[at]);
    if (self.facts.shape.groups.agreement) done = std::min(done, self.z_rows[at]);
    require(done == self.facts.shape.tokens,
            fmt::format("layer {} has seen {} of {} rows; the run is not whole", layer, done, self.facts.shape.tokens));
  }
  self.facts.run = run;
  const auto checksums = std::as_bytes(std::span(self.sums.sums()));
  const StoredTensor& tensor = self.file.tensor("checksums");
  std::vector<std::byte> padded(tensor.bytes());
  std::copy(checksums.begin(), checksums.end(), padded.begin());
  self.file.write(tensor, 0, padded);
  Metadata metadata = metadata_of(self.facts);
  metadata["digest"] = trace_digest(self.file.header(metadata), metadata["digest"], padded);
  self.file.commit(metadata, [](const std::string& made) {
    try {
      static_cast<void>(Trace::open(made));
    } catch (const InputError& error) {
      throw OutputError(std::string("the trace that was made cannot be read, and was not put in place: ") +
                        error.what());
    }
  });
}

void write_trace(const std::string& path, const std::shared_ptr<const Model>& model, std::vector<int32_t> tokens,
                 const TraceOptions& options, const Reach& reach, int threads, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  SessionOptions run_options;
  run_options.threads = threads;
  run_options.reach = reach;
  position_scale(model->config(), static_cast<int64_t>(tokens.size()), reach.beyond);  // refuses before a file is begun
  TraceWriter writer(path, *model, tokens, options);
  TraceRun run;
  run.reach = reach;
  run.threads = threads > 0 ? threads : base::available_cores();
  const auto start = std::chrono::steady_clock::now();
  if (options.table) {
    run_options.table = options.table;
    run_options.max_tokens = static_cast<int64_t>(tokens.size());
    Session session(model, run_options);
    session.run(tokens, Logits::none, &writer, progress);
  } else {
    run_by_layer(model, tokens, writer, run_options, progress);
  }
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  writer.commit(run);
}

}  // namespace bareattn

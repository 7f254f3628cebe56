// See pieces.h.
#include "text/pieces.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "bareattn/error.h"
#include "base/seeded_hash.h"
#include "base/utf8.h"
#include "text/quote.h"

namespace bareattn::text {
namespace {

constexpr char32_t space_mark = 0x2581;

template <class See>
void each_character(std::string_view text, See&& see) {
  for (size_t at = 0; at < text.size();) {
    const base::Utf8Step step = base::decode_utf8(text, at);
    // Of an invalid part every byte is a character of its own, which no token has.
    const size_t length = step.valid ? step.length : 1;
    see(step.valid ? (step.code_point == ' ' ? space_mark : step.code_point) : char32_t{0x110000}, at, length);
    at += length;
  }
}

/// The different ones of what is added, in order, without room for all of it. `hold` is told of bytes that they take,
/// with those of the table that is made of them, so that too many are refused while they are read.
template <class T>
class Different {
 public:
  template <class Hold>
  void add(const T& one, const Hold& hold) {
    if (all_.size() >= next_) {
      const size_t next = 2 * std::max(least, sort().size());
      if (next > next_) hold((next - next_) * (sizeof(T) + table_place));
      next_ = next;
    }
    all_.push_back(one);
  }
  const std::vector<T>& sort() {
    std::sort(all_.begin(), all_.end());
    all_.erase(std::unique(all_.begin(), all_.end()), all_.end());
    return all_;
  }

 private:
  static constexpr size_t least = size_t{1} << 16, table_place = 32;
  std::vector<T> all_;
  size_t next_ = 2 * least;
};

}  // namespace

void Pieces::hold(size_t bytes) {
  held_ += bytes;
  if (held_ <= text_ + room) return;
  throw InputError(
      fmt::format("the vocabulary's {} tokens would take {} MB of memory; of a text of {} MB at most {} are "
                  "taken",
                  usable_.size(), held_ / 1'000'000, text_ / 1'000'000, (text_ + room) / 1'000'000));
}

Pieces::Pieces(const TokenizerSpec& spec, const Vocabulary& vocabulary)
    : spec_(spec), vocabulary_(vocabulary), symbols_(0), neighbours_(0), merges_(0) {
  if (!spec.scores.empty() && spec.scores.size() != spec.tokens.size()) {
    throw InputError(fmt::format("there are {} scores for {} tokens", spec.scores.size(), spec.tokens.size()));
  }
  usable_.assign(spec.tokens.size(), false);
  constexpr size_t head = 12, place = sizeof(std::string) + 8 + 4 + 4 + 2 + 16;  // of a token: in a file, and here
  for (const std::string& token : spec.tokens) text_ += token.size() + head;
  hold(text_ + spec.tokens.size() * place);
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    const TokenType type = vocabulary.type(static_cast<int32_t>(id));
    const std::string& token = spec.tokens[id];
    if (type == TokenType::control || type == TokenType::unknown || type == TokenType::byte) continue;
    if (token.size() > max_token_bytes) {
      throw InputError(fmt::format("token {} ({}) has {} bytes; at most {} are read in a vocabulary of pieces", id,
                                   quoted(token), token.size(), max_token_bytes));
    }
    usable_[id] = base::is_utf8(token);
  }
  read_characters();
  if (spec.merges.empty()) {
    if (spec.scores.empty()) throw InputError("the vocabulary has neither scores nor merges: pieces need one of them");
    make_merges();
  }
  used_ = spec.merges.empty() ? &merges_ : &vocabulary.merges();
}

void Pieces::read_characters() {
  length_.assign(usable_.size(), 1);
  std::vector<std::pair<char32_t, int32_t>> single;
  const auto holding = [this](size_t bytes) { hold(bytes); };
  Different<char32_t> different;
  for (size_t id = 0; id < usable_.size(); ++id) {
    if (!usable_[id]) continue;
    uint16_t count = 0;
    char32_t last = 0;
    each_character(spec_.tokens[id], [&](char32_t c, size_t, size_t) {
      different.add(last = c, holding);
      ++count;
    });
    length_[id] = count;
    if (count == 1) single.emplace_back(last, static_cast<int32_t>(id));
  }
  const std::vector<char32_t>& characters = different.sort();
  hold(MergeTable::bytes_for(characters.size()));
  symbols_ = MergeTable(characters.size());
  for (const auto& [c, id] : single) symbols_.add(static_cast<int32_t>(c), 0, {0, id});
  auto next = static_cast<int32_t>(usable_.size());
  for (const char32_t c : characters)
    if (symbols_.add(static_cast<int32_t>(c), 0, {0, next})) ++next;

  Different<std::pair<int32_t, int32_t>> different_pairs;
  for (size_t id = 0; id < usable_.size(); ++id) {
    if (!usable_[id]) continue;
    int32_t before = -1;
    each_character(spec_.tokens[id], [&](char32_t c, size_t, size_t) {
      const int32_t symbol = symbol_of(c);
      if (before >= 0) different_pairs.add({before, symbol}, holding);
      before = symbol;
    });
  }
  const auto& pairs = different_pairs.sort();
  hold(MergeTable::bytes_for(pairs.size()));
  neighbours_ = MergeTable(pairs.size());
  for (const auto& [left, right] : pairs) neighbours_.add(left, right, {0, 0});
}

int32_t Pieces::symbol_of(char32_t character) const { return symbols_.find(static_cast<int32_t>(character), 0).id; }

// The rank of a score is its place among the different scores, the highest first: equal scores must be equal ranks.
void Pieces::make_merges() {
  std::vector<float> scores;
  for (size_t id = 0; id < usable_.size(); ++id) {
    if (std::isnan(spec_.scores[id])) throw InputError(fmt::format("the score of token {} is NaN", id));
    if (usable_[id]) scores.push_back(spec_.scores[id]);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());

  const auto text_of = [this](int32_t id) { return std::string_view(spec_.tokens[static_cast<size_t>(id)]); };
  base::TextIndex ids(usable_.size());
  for (size_t id = 0; id < usable_.size(); ++id)
    if (usable_[id]) ids.add(spec_.tokens[id], static_cast<int32_t>(id), text_of);
  struct Found {
    int32_t left, right;
    MergeTable::Merge merge;
  };
  std::deque<Found> found;  // a vector would hold twice as many while it grows
  for (size_t id = 0; id < usable_.size(); ++id) {
    const std::string_view token = spec_.tokens[id];
    if (!usable_[id] || length_[id] < 2 || ids.find(token, text_of) != static_cast<int32_t>(id)) continue;
    const auto rank =
        std::lower_bound(scores.begin(), scores.end(), spec_.scores[id], std::greater<>()) - scores.begin();
    // A part is a token, or one character that is none.
    const auto part = [&](std::string_view text, bool single) {
      if (const int32_t found_id = ids.find(text, text_of); found_id >= 0) return found_id;
      return single ? symbol_of(base::decode_utf8(text, 0).code_point) : -1;
    };
    uint16_t before = 0;
    each_character(token, [&](char32_t, size_t at, size_t) {
      if (at > 0) {
        const int32_t left = part(token.substr(0, at), before == 1);
        const int32_t right = left < 0 ? -1 : part(token.substr(at), length_[id] - before == 1);
        if (right >= 0) {
          if (found.size() % 65'536 == 0) hold(65'536 * sizeof(Found));
          found.push_back({left, right, {static_cast<int32_t>(rank), static_cast<int32_t>(id)}});
        }
      }
      ++before;
    });
  }
  hold(MergeTable::bytes_for(found.size()));
  merges_ = MergeTable(found.size());
  for (const Found& each : found) merges_.add(each.left, each.right, each.merge);
}

void Pieces::split(std::string_view text, const See& see) const {
  int32_t before = -1;
  bool more = true;
  each_character(text, [&](char32_t c, size_t at, size_t) {
    const int32_t symbol = symbol_of(c);
    if (at > 0 && more && neighbours_.find(before, symbol).rank < 0) more = see(at);
    before = symbol;
  });
  if (more && !text.empty()) see(text.size());
}

void Pieces::encode(std::string_view word, bool prefixed, BpeScratch& scratch, std::vector<int32_t>& out) const {
  std::vector<int32_t>& symbols = scratch.word;
  symbols.clear();
  if (prefixed) symbols.push_back(symbol_of(space_mark));
  each_character(word, [&](char32_t c, size_t, size_t) { symbols.push_back(symbol_of(c)); });
  merge_word(*used_, symbols, scratch);
  const auto size = static_cast<int32_t>(usable_.size());
  size_t at = 0;
  bool before_word = prefixed;  // the first character is the space that is not there
  const auto next = [&] {
    if (std::exchange(before_word, false)) return std::string_view(" ");
    const base::Utf8Step step = base::decode_utf8(word, at);
    const std::string_view character = word.substr(at, step.valid ? step.length : 1);
    at += character.size();
    return character;
  };
  for (const int32_t id : symbols) {
    if (id >= 0 && id < size) {
      out.push_back(id);
      for (uint16_t i = 0; i < length_[id]; ++i) next();
    } else {
      spell(next(), out);
    }
  }
}

void Pieces::spell(std::string_view character, std::vector<int32_t>& out) const {
  const auto missing = [&](char c) { return vocabulary_.byte_token(static_cast<uint8_t>(c)) < 0; };
  if (std::none_of(character.begin(), character.end(), missing)) {
    for (const char c : character) out.push_back(vocabulary_.byte_token(static_cast<uint8_t>(c)));
  } else if (spec_.unknown_id >= 0) {
    out.push_back(spec_.unknown_id);
  } else {
    throw InputError("the text has " + quoted(character) +
                     ", for which this model's vocabulary has neither a token nor bytes nor an unknown token");
  }
}

}  // namespace bareattn::text

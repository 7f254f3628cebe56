// The metadata values of a GGUF file: checked while the file is read (skip_value), decoded when asked for. A value of
// another type than the one needed is refused with both types named; nothing is converted silently but integers among
// themselves. Where to go next: config.cc, which asks.
#include <fmt/format.h>

#include <cmath>

#include "base/utf8.h"
#include "files/gguf.h"
#include "files/gguf_cursor.h"

namespace bareattn::model {
namespace {

constexpr size_t shown_name_bytes = 80;

uint64_t width_of(ValueType type) {
  switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean:
      return 1;
    case ValueType::u16:
    case ValueType::i16:
      return 2;
    case ValueType::u32:
    case ValueType::i32:
    case ValueType::f32:
      return 4;
    case ValueType::u64:
    case ValueType::i64:
    case ValueType::f64:
      return 8;
    case ValueType::string:
    case ValueType::array:
      return 0;
  }
  return 0;
}

const char* name_of(ValueType type) {
  static constexpr const char* names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                          "bool", "string", "array", "u64", "i64", "f64"};
  return names[static_cast<uint32_t>(type)];
}

ValueType read_type(Cursor& cursor, std::string_view key) {
  const uint64_t at = cursor.position();
  const auto type = cursor.get<uint32_t>("value type");
  if (type > static_cast<uint32_t>(ValueType::f64)) {
    cursor.fail(at, quoted(key) + " has value type " + std::to_string(type) + "; 0 to 12 are known");
  }
  return static_cast<ValueType>(type);
}

void check_bools(Cursor& cursor, uint64_t at, std::string_view bytes, std::string_view key) {
  for (const char c : bytes) {
    if (c == 0 || c == 1) continue;
    cursor.fail(
        at, quoted(key) + " holds the bool " + std::to_string(static_cast<unsigned char>(c)) + "; 0 or 1 is needed");
  }
}

void skip_array(Cursor& cursor, std::string_view key) {
  const uint64_t at = cursor.position();
  const ValueType element = read_type(cursor, key);
  if (element == ValueType::array) cursor.fail(at, quoted(key) + " is an array of arrays; none is known");
  const auto count = cursor.get<uint64_t>("array length");
  const uint64_t least = element == ValueType::string ? 8 : width_of(element);
  if (count > cursor.remaining() / least) {
    cursor.fail(at, quoted(key) + " is an array of " + std::to_string(count) + " " + name_of(element) +
                        ", but the file has only " + std::to_string(cursor.remaining()) + " more bytes");
  }
  if (element == ValueType::string) {
    for (uint64_t i = 0; i < count; ++i) cursor.string(key);
    return;
  }
  const std::string_view bytes = cursor.take(count * least, key);  // cannot wrap: count <= remaining / least
  if (element == ValueType::boolean) check_bools(cursor, at, bytes, key);
}

}  // namespace

std::string quoted(std::string_view name) {
  const bool cut = name.size() > shown_name_bytes;
  return fmt::format("'{}{}'", base::escape_for_terminal(name.substr(0, shown_name_bytes)), cut ? "..." : "");
}

void skip_value(Cursor& cursor, std::string_view key) {
  const ValueType type = read_type(cursor, key);
  const uint64_t at = cursor.position();
  if (type == ValueType::array) return skip_array(cursor, key);
  if (type == ValueType::string) return void(cursor.string(key));
  const std::string_view bytes = cursor.take(width_of(type), key);
  if (type == ValueType::boolean) check_bools(cursor, at, bytes, key);
}

struct GgufFile::Value {
  uint64_t record;
  ValueType type;
  ValueType element = ValueType::u8;  // of an array; else the type
  uint64_t count = 1;                 // of an array
  Cursor cursor;                      // at the first element

  std::string type_text() const {
    return type == ValueType::array ? std::string("an array of ") + name_of(element) : name_of(type);
  }
};

std::optional<GgufFile::Value> GgufFile::find_value(std::string_view key) const {
  const Entry* entry = find_entry(key);
  if (entry == nullptr) return {};
  Cursor cursor(file_, entry->record);
  cursor.string("metadata key");
  Value value{entry->record, read_type(cursor, key), ValueType::u8, 1, cursor};
  value.element = value.type;
  if (value.type == ValueType::array) {
    value.element = read_type(cursor, key);
    value.count = cursor.get<uint64_t>("array length");
  }
  value.cursor = cursor;
  return value;
}

std::optional<uint64_t> GgufFile::integer(std::string_view key) const {
  auto value = find_value(key);
  if (!value) return {};
  const auto not_negative = [&](int64_t number) {
    if (number < 0) fail(key, quoted(key) + " is " + std::to_string(number) + "; it may not be negative");
    return static_cast<uint64_t>(number);
  };
  const auto one = [&]() -> uint64_t {
    switch (value->element) {
      case ValueType::u8:
        return value->cursor.get<uint8_t>(key);
      case ValueType::u16:
        return value->cursor.get<uint16_t>(key);
      case ValueType::u32:
        return value->cursor.get<uint32_t>(key);
      case ValueType::u64:
        return value->cursor.get<uint64_t>(key);
      case ValueType::i8:
        return not_negative(value->cursor.get<int8_t>(key));
      case ValueType::i16:
        return not_negative(value->cursor.get<int16_t>(key));
      case ValueType::i32:
        return not_negative(value->cursor.get<int32_t>(key));
      case ValueType::i64:
        return not_negative(value->cursor.get<int64_t>(key));
      default:
        fail(key, quoted(key) + " is " + value->type_text() + "; an integer is needed");
    }
  };
  if (value->count == 0) fail(key, quoted(key) + " is an empty array; an integer is needed");
  const uint64_t first = one();
  for (uint64_t i = 1; i < value->count; ++i) {
    const uint64_t other = one();
    if (other == first) continue;
    fail(key, quoted(key) + " is an array of " + std::to_string(first) + ", " + std::to_string(other) +
                  ", ..; only one number for all layers can be run");
  }
  return first;
}

std::optional<double> GgufFile::number(std::string_view key) const {
  auto value = find_value(key);
  if (!value) return {};
  if (value->type != ValueType::f32 && value->type != ValueType::f64) {
    fail(key, quoted(key) + " is " + value->type_text() + "; f32 is needed");
  }
  const double number = value->type == ValueType::f32 ? value->cursor.get<float>(key) : value->cursor.get<double>(key);
  if (!std::isfinite(number)) fail(key, quoted(key) + " is " + std::to_string(number) + "; a finite number is needed");
  return number;
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  auto value = find_value(key);
  if (!value) return {};
  if (value->type != ValueType::boolean) fail(key, quoted(key) + " is " + value->type_text() + "; a bool is needed");
  return value->cursor.get<uint8_t>(key) != 0;
}

std::optional<std::string_view> GgufFile::bytes(std::string_view key) const {
  auto value = find_value(key);
  if (!value) return {};
  if (value->type != ValueType::string) fail(key, quoted(key) + " is " + value->type_text() + "; a string is needed");
  return value->cursor.string(key);
}

std::optional<std::string_view> GgufFile::string(std::string_view key) const {
  const auto text = bytes(key);
  if (text && !base::is_utf8(*text)) fail(key, quoted(key) + " is no valid UTF-8");
  return text;
}

std::optional<uint64_t> GgufFile::array_length(std::string_view key, ValueType element) const {
  auto value = find_value(key);
  if (!value) return {};
  if (value->type != ValueType::array || value->element != element) {
    fail(key, quoted(key) + " is " + value->type_text() + "; an array of " + name_of(element) + " is needed");
  }
  return value->count;
}

std::optional<uint64_t> GgufFile::array_length(std::string_view key) const {
  auto value = find_value(key);
  if (!value) return {};
  if (value->type != ValueType::array) fail(key, quoted(key) + " is " + value->type_text() + "; an array is needed");
  return value->count;
}

std::optional<std::vector<double>> GgufFile::numbers(std::string_view key) const {
  auto value = find_value(key);
  if (!value) return {};
  std::vector<double> all;
  for (uint64_t i = 0; i < value->count; ++i) {
    Cursor& cursor = value->cursor;
    switch (value->element) {
      case ValueType::u8:
      case ValueType::boolean:
        all.push_back(cursor.get<uint8_t>(key));
        break;
      case ValueType::i8:
        all.push_back(cursor.get<int8_t>(key));
        break;
      case ValueType::u16:
        all.push_back(cursor.get<uint16_t>(key));
        break;
      case ValueType::i16:
        all.push_back(cursor.get<int16_t>(key));
        break;
      case ValueType::u32:
        all.push_back(cursor.get<uint32_t>(key));
        break;
      case ValueType::i32:
        all.push_back(cursor.get<int32_t>(key));
        break;
      case ValueType::f32:
        all.push_back(static_cast<double>(cursor.get<float>(key)));
        break;
      case ValueType::u64:
        all.push_back(static_cast<double>(cursor.get<uint64_t>(key)));
        break;
      case ValueType::i64:
        all.push_back(static_cast<double>(cursor.get<int64_t>(key)));
        break;
      case ValueType::f64:
        all.push_back(cursor.get<double>(key));
        break;
      default:
        fail(key, quoted(key) + " is " + value->type_text() + "; a number is needed");
    }
  }
  return all;
}

void GgufFile::each_key(const std::function<void(std::string_view key)>& visit) const {
  for (const Entry& entry : index_) visit(key_at(entry.record));
}

std::optional<std::vector<std::string>> GgufFile::strings(std::string_view key) const {
  const auto count = array_length(key, ValueType::string);
  if (!count) return {};
  Cursor cursor = find_value(key)->cursor;
  std::vector<std::string> all;
  all.reserve(*count);  // each has at least 8 bytes in the file: checked when it was read
  for (uint64_t i = 0; i < *count; ++i) all.emplace_back(cursor.string(key));
  return all;
}

GgufFile::StringsSize GgufFile::strings_size(std::string_view key) const {
  const auto count = array_length(key, ValueType::string);
  if (!count) return {};
  constexpr uint64_t within = 15, block = 16;  // a string of so many is in itself; else in blocks, with a head
  Cursor cursor = find_value(key)->cursor;
  StringsSize size{*count, 0, *count * sizeof(std::string)};
  for (uint64_t i = 0; i < *count; ++i) {
    const uint64_t bytes = cursor.string(key).size();
    size.text += bytes;
    if (bytes > within) size.memory += (bytes + 1 + block) / block * block + block;
  }
  return size;
}

std::optional<uint64_t> GgufFile::integers_length(std::string_view key) const {
  const auto value = find_value(key);
  if (value && value->type == ValueType::array && value->element == ValueType::u32) return value->count;
  return array_length(key, ValueType::i32);
}

std::optional<std::vector<int32_t>> GgufFile::integers(std::string_view key) const {
  auto value = find_value(key);
  if (!value) return {};
  const bool is_unsigned = value->type == ValueType::array && value->element == ValueType::u32;
  const auto count = is_unsigned ? value->count : array_length(key, ValueType::i32).value_or(0);
  std::vector<int32_t> all(count);
  for (int32_t& number : all) {
    number = value->cursor.get<int32_t>(key);
    if (is_unsigned && number < 0) fail(key, quoted(key) + " holds a number over 2^31 - 1");
  }
  return all;
}

std::optional<std::vector<float>> GgufFile::floats(std::string_view key) const {
  const auto count = array_length(key, ValueType::f32);
  if (!count) return {};
  Cursor cursor = find_value(key)->cursor;
  std::vector<float> all(*count);
  for (float& number : all) number = cursor.get<float>(key);
  return all;
}

}  // namespace bareattn::model

// CheckedSize: the one type for sizes that come from a file or a user. Adding, multiplying, rounding up and narrowing
// either give the true result or throw SizeError with both operands; nothing wraps. It refuses negative numbers too.
// A reader that knows path and offset catches SizeError and throws FileError. Next: base/mapped_file.h.
#pragma once
#include <compare>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "bareattn/error.h"

namespace bareattn::base {

/// A size cannot be computed or does not fit; what() names the operands and the limit.
class SizeError : public InputError {
 public:
  using InputError::InputError;
};

class CheckedSize {
 public:
  constexpr CheckedSize() = default;

  /// Implicit: a number is a size.
  template <std::integral T>
  requires(!std::same_as<T, bool>) constexpr CheckedSize(T value)  // NOLINT(google-explicit-constructor)
      : value_(static_cast<uint64_t>(value)) {
    if constexpr (std::is_signed_v<T>) {
      if (value < 0) throw SizeError("size " + std::to_string(value) + " is negative");
    }
  }

  /// The product of a shape's dimensions; 1 for a scalar (empty shape). `what` names the subject in the error.
  template <class T>
  static CheckedSize product(std::span<const T> shape, const std::string& what = "shape") {
    // The product without the zeros must fit as well: otherwise [0, 2^40, 2^40] would pass and its strides would not.
    CheckedSize result = 1;
    bool empty = false;
    try {
      for (T dim : shape) {
        empty |= dim == 0;
        if (dim != 0) result *= CheckedSize(dim);
      }
    } catch (const SizeError& error) {
      throw SizeError(what + " " + shape_text(shape) + ": " + error.what());
    }
    return empty ? CheckedSize(0) : result;
  }

  constexpr uint64_t value() const { return value_; }

  /// The value as T, where it fits.
  template <std::integral T>
  constexpr T to() const {
    if (!std::in_range<T>(value_)) {
      throw SizeError("size " + std::to_string(value_) + " is over the limit " +
                      std::to_string(std::numeric_limits<T>::max()));
    }
    return static_cast<T>(value_);
  }

  friend constexpr CheckedSize operator+(CheckedSize a, CheckedSize b) {
    uint64_t result = 0;
    if (__builtin_add_overflow(a.value_, b.value_, &result)) throw overflow(a, "+", b);
    return result;
  }
  friend constexpr CheckedSize operator-(CheckedSize a, CheckedSize b) {
    if (b.value_ > a.value_) throw SizeError(pair(a, "-", b) + " is negative");
    return a.value_ - b.value_;
  }
  friend constexpr CheckedSize operator*(CheckedSize a, CheckedSize b) {
    uint64_t result = 0;
    if (__builtin_mul_overflow(a.value_, b.value_, &result)) throw overflow(a, "*", b);
    return result;
  }
  friend constexpr CheckedSize operator/(CheckedSize a, CheckedSize b) {
    if (b.value_ == 0) throw SizeError(pair(a, "/", b) + " is a division by zero");
    return a.value_ / b.value_;
  }
  CheckedSize& operator+=(CheckedSize other) { return *this = *this + other; }
  CheckedSize& operator*=(CheckedSize other) { return *this = *this * other; }

  /// a / b where b divides a; else SizeError.
  constexpr CheckedSize divide_exactly(CheckedSize b) const {
    const CheckedSize quotient = *this / b;
    if (quotient.value_ * b.value_ != value_) throw SizeError(pair(*this, "/", b) + " leaves a remainder");
    return quotient;
  }
  /// The smallest multiple of `alignment` that is not below this. alignment 0 is refused; it need not be a power of 2.
  constexpr CheckedSize align_up(CheckedSize alignment) const {
    if (alignment.value_ == 0) throw SizeError("alignment 0; at least 1 is needed");
    const uint64_t rest = value_ % alignment.value_;
    return rest == 0 ? *this : *this + (alignment - rest);
  }

  friend constexpr auto operator<=>(CheckedSize, CheckedSize) = default;

 private:
  static std::string pair(CheckedSize a, const char* op, CheckedSize b) {
    return std::to_string(a.value_) + " " + op + " " + std::to_string(b.value_);
  }
  static SizeError overflow(CheckedSize a, const char* op, CheckedSize b) {
    return SizeError(pair(a, op, b) + " does not fit in 64 bits");
  }
  template <class T>
  static std::string shape_text(std::span<const T> shape) {
    std::string text = "[";
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (axis == 8) return text + ", ... " + std::to_string(shape.size()) + " dimensions]";
      text += (axis ? ", " : "") + std::to_string(shape[axis]);
    }
    return text + "]";
  }

  uint64_t value_ = 0;
};

/// Throws SizeError unless [offset, offset + size) lies in [0, total). `what` names the subject.
inline void check_range(CheckedSize offset, CheckedSize size, CheckedSize total, const std::string& what) {
  if (offset <= total && size <= total - offset) return;
  throw SizeError(what + ": " + std::to_string(size.value()) + " bytes at " + std::to_string(offset.value()) +
                  " end past " + std::to_string(total.value()));
}

}  // namespace bareattn::base

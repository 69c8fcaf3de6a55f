// array.hpp: a fixed number of elements of one type, in shared memory.
//
//   Shape      one cache line in the struct; the elements lie contiguously, 64-byte aligned,
//              as plain T
//   Unit       elements; the extent is fixed when the arena is created and is the arena's
//   Progress   load, store, exchange, compare_exchange, add and sub of integers are wait-free, the
//              others a CAS loop that another one's success prolongs: lock-free. All but update()
//              are noexcept; none makes a system call
//   Errors     at() throws out_of_range; operator[] past the end is a broken contract
//   Death      elements of 1, 2, 4 or 8 bytes are old or new, never torn; others are as the killed
//              process left them, which is why they want a Lock
//   Edges      A2 -> A1, A3, A4, A5   carries what the writer of an element wrote before
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <lagoon/arena_safe.hpp>
#include <lagoon/count.hpp>
#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/member_of_arena.hpp>
#include <lagoon/detail/type_name.hpp>
#include <lagoon/error.hpp>

namespace lagoon::inline v1 {

namespace detail {
[[noreturn]] void throw_out_of_range(const void* object, std::uint64_t index, std::uint64_t size);
}  // namespace detail

/// One element of 1, 2, 4 or 8 bytes, used as an atomic.
template <class T>
class Element {
public:
    explicit Element(T& at) noexcept : at_{&at} {}

    [[nodiscard]] T load() const noexcept {
        // A1 acquire load <- A2, A3, A4, A5.
        return word().load(std::memory_order_acquire);
    }
    void store(T value) const noexcept {
        // A2 release store -> A1, A3, A4, A5.
        word().store(value, std::memory_order_release);
    }
    T exchange(T value) const noexcept {
        // A3 acq_rel RMW <- A2, A3, A4, A5 -> A1, A3, A4, A5.
        return word().exchange(value, std::memory_order_acq_rel);
    }
    /// Sets the element to `desired` if it is `expected`; otherwise `expected` becomes what it is.
    bool compare_exchange(T& expected, T desired) const noexcept {
        // A4 acq_rel RMW <- A2, A3, A4, A5 -> A1, A3, A4, A5.
        return word().compare_exchange_strong(expected, desired, std::memory_order_acq_rel,
                                              std::memory_order_acquire);
    }
    /// Adds and returns the element just before; integers wrap.
    T add(T operand) const noexcept {
        if constexpr (std::integral<T> && !std::same_as<T, bool>) {
            // A5 acq_rel RMW <- A2, A3, A4, A5 -> A1, A3, A4, A5.
            return word().fetch_add(operand, std::memory_order_acq_rel);
        } else {
            return update([operand](T before) { return static_cast<T>(before + operand); });
        }
    }
    T sub(T operand) const noexcept {
        if constexpr (std::integral<T> && !std::same_as<T, bool>) {
            // A5 acq_rel RMW <- A2, A3, A4, A5 -> A1, A3, A4, A5.
            return word().fetch_sub(operand, std::memory_order_acq_rel);
        } else {
            return update([operand](T before) { return static_cast<T>(before - operand); });
        }
    }
    T fetch_and(T operand) const noexcept requires std::integral<T> {
        return update([operand](T before) { return static_cast<T>(before & operand); });
    }
    T fetch_or(T operand) const noexcept requires std::integral<T> {
        return update([operand](T before) { return static_cast<T>(before | operand); });
    }
    T fetch_xor(T operand) const noexcept requires std::integral<T> {
        return update([operand](T before) { return static_cast<T>(before ^ operand); });
    }
    T fetch_min(T operand) const noexcept requires std::totally_ordered<T> {
        return update([operand](T before) { return operand < before ? operand : before; });
    }
    T fetch_max(T operand) const noexcept requires std::totally_ordered<T> {
        return update([operand](T before) { return before < operand ? operand : before; });
    }
    /// Replaces the element by `change(element)` in one step; returns the one before. Repeats
    /// while others succeed in between.
    template <class Change>
    T update(Change&& change) const {
        T before = load();
        while (!compare_exchange(before, static_cast<T>(change(T{before})))) {
        }
        return before;
    }

    operator T() const noexcept { return load(); }
    const Element& operator=(T value) const noexcept {
        store(value);
        return *this;
    }
    Element(const Element&) noexcept = default;
    const Element& operator=(const Element& other) const noexcept {
        store(other.load());
        return *this;
    }
    const Element& operator+=(T operand) const noexcept {
        add(operand);
        return *this;
    }
    const Element& operator-=(T operand) const noexcept {
        sub(operand);
        return *this;
    }

private:
    [[nodiscard]] detail::Atomic<T>& word() const noexcept { return detail::as_atomic(*at_); }
    T* at_;
};

/// Goes over an array; what it points to is an Element.
template <class T>
class ElementIterator {
public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using reference = Element<T>;
    using pointer = void;
    using iterator_category = std::input_iterator_tag;

    ElementIterator() noexcept = default;
    explicit ElementIterator(T* at) noexcept : at_{at} {}
    Element<T> operator*() const noexcept { return Element<T>{*at_}; }
    ElementIterator& operator++() noexcept {
        ++at_;
        return *this;
    }
    ElementIterator operator++(int) noexcept { return ElementIterator{at_++}; }
    friend bool operator==(const ElementIterator&, const ElementIterator&) = default;

private:
    T* at_ = nullptr;
};

template <class T>
class alignas(detail::cache_line_bytes) Array {
public:
    /// `size` elements of all-zero bytes.
    Array(const char* name, Count size) : storage_{enter(name, size)} {}
    /// As many elements as `values` has, with these values.
    Array(const char* name, std::initializer_list<T> values)
        : storage_{enter(name, values.size())} {
        std::copy(values.begin(), values.end(), data());
    }
    Array(const char* name, std::span<const T> values) : storage_{enter(name, values.size())} {
        std::copy(values.begin(), values.end(), data());
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    [[nodiscard]] std::size_t size() const noexcept { return storage_.extent; }

    /// The element as an atomic; an index past the end prints and aborts.
    Element<T> operator[](std::size_t index) noexcept { return Element<T>{slot(index)}; }
    Element<T> operator[](std::size_t index) const noexcept {
        return Element<T>{const_cast<Array*>(this)->slot(index)};
    }

    /// As operator[], but throws out_of_range. For elements of other sizes a plain reference, to be
    /// used under a Lock.
    decltype(auto) at(std::size_t index) {
        if (index >= size()) detail::throw_out_of_range(this, index, size());
        if constexpr (detail::fits_one_word<T>) {
            return Element<T>{data()[index]};
        } else {
            return (data()[index]);
        }
    }
    decltype(auto) at(std::size_t index) const { return const_cast<Array*>(this)->at(index); }

    /// Plain access for whoever owns the data, for example under a Lock.
    [[nodiscard]] std::span<T> span() noexcept { return {data(), size()}; }
    [[nodiscard]] std::span<const T> span() const noexcept {
        return {const_cast<Array*>(this)->data(), size()};
    }

    /// One element after the other, each as an atomic. For other sizes there is span().
    [[nodiscard]] ElementIterator<T> begin() const noexcept requires detail::fits_one_word<T> {
        return ElementIterator<T>{const_cast<Array*>(this)->data()};
    }
    [[nodiscard]] ElementIterator<T> end() const noexcept requires detail::fits_one_word<T> {
        return ElementIterator<T>{const_cast<Array*>(this)->data() + size()};
    }

    /// Sets every element, one after the other; not one step for a concurrent reader.
    void fill(const T& value) noexcept {
        for (std::size_t i = 0; i < size(); ++i) {
            if constexpr (detail::fits_one_word<T>) {
                (*this)[i].store(value);
            } else {
                data()[i] = value;
            }
        }
    }

    /// A copy of all elements: each one whole, the set of them not from one moment. Of other sizes
    /// under a Lock only.
    [[nodiscard]] std::vector<T> snapshot() const {
        std::vector<T> copy;
        copy.reserve(size());
        for (std::size_t i = 0; i < size(); ++i) {
            if constexpr (detail::fits_one_word<T>) {
                copy.push_back((*this)[i].load());
            } else {
                copy.push_back(span()[i]);
            }
        }
        return copy;
    }

private:
    detail::Storage enter(const char* name, Count size) {
        detail::require_arena_safe<T>();
        if (size.value > (std::uint64_t{1} << 46) / sizeof(T)) {
            throw Error{Errc::too_large, std::string{"member '"} + name +
                                             "': " + std::to_string(size.value) +
                                             " elements are more than any memory holds"};
        }
        return detail::register_object(this, {.kind = detail::Kind::array,
                                              .name = name,
                                              .element_type = detail::type_name<T>(),
                                              .element_bytes = sizeof(T),
                                              .element_align = alignof(T),
                                              .element_shape = detail::type_shape<T>(),
                                              .object_bytes = sizeof(Array),
                                              .extent = size,
                                              .storage_bytes = size * sizeof(T)});
    }
    T* data() noexcept {
        return reinterpret_cast<T*>(reinterpret_cast<char*>(this) + storage_.from_object);
    }
    T& slot(std::size_t index) noexcept {
        static_assert(detail::fits_one_word<T>,
                      "an element that is not of 1, 2, 4 or 8 bytes has no atomic form: use span() "
                      "or at() under a "
                      "lagoon::Lock");
        if (index >= size()) [[unlikely]] {
            detail::contract_failure("index %zu of an array of %zu elements", index, size());
        }
        return data()[index];
    }

    detail::Storage storage_;
};

}  // namespace lagoon::inline v1

// codec.hpp: how arguments and results travel between processes as bytes.
//
//   Shape      8 bytes that name the types, 8 bytes of checksum, then the values one by one
//   Progress   for set-up and tasks; allocates
//   Errors     decode throws Error(corrupt) for whatever encode of the same types did not make:
//              other types, truncated, changed or superfluous bytes
//
// Arena-safe types are copied as they lie in memory, also inside containers. Standard containers,
// strings, optionals, tuples and variants go through cereal, and so do the user's own classes that
// have cereal's `serialize`. Both ends are the same machine: byte order is not converted.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <cereal/cereal.hpp>
#include <cereal/types/array.hpp>
#include <cereal/types/deque.hpp>
#include <cereal/types/list.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/tuple.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/unordered_set.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/variant.hpp>
#include <cereal/types/vector.hpp>

#include <lagoon/arena_safe.hpp>
#include <lagoon/detail/type_name.hpp>
#include <lagoon/error.hpp>

namespace lagoon::inline v1::detail {

[[noreturn]] void throw_damaged(const char* what);
[[nodiscard]] std::uint64_t checksum_of(std::string_view bytes) noexcept;

/// Containers of elements that take no bytes at all may have this many of them.
constexpr std::uint64_t empty_elements_limit = std::uint64_t{1} << 16;

/// Appends to a string. A cereal archive, so that users' `serialize` functions can be given one.
class Writer : public cereal::OutputArchive<Writer, cereal::AllowEmptyClassElision> {
    using Base = cereal::OutputArchive<Writer, cereal::AllowEmptyClassElision>;

public:
    explicit Writer(std::string& out) : Base{this}, out_{out} {}

    template <class... Parts>
    Writer& operator()(Parts&&... parts) {
        (put(parts), ...);
        return *this;
    }
    template <class Part>
    Writer& operator&(Part&& part) {
        return (*this)(part);
    }
    template <class Part>
    Writer& operator<<(Part&& part) {
        return (*this)(part);
    }

    void append(const void* bytes, std::size_t count) {
        out_.append(static_cast<const char*>(bytes), count);
    }

private:
    template <class T>
    void put(const cereal::NameValuePair<T>& pair) {
        put(pair.value);
    }
    template <class T>
    void put(const cereal::SizeTag<T>& tag) {
        const auto count = static_cast<std::uint64_t>(tag.size);
        append(&count, sizeof count);
    }
    template <class T>
    void put(const T& value) {
        if constexpr (ArenaSafe<T>) {
#if __has_builtin(__builtin_clear_padding)
            if constexpr (std::is_class_v<T> && !std::has_unique_object_representations_v<T>) {
                T clean = value;  // what lies between the fields is nobody's business
                __builtin_clear_padding(std::addressof(clean));
                return append(std::addressof(clean), sizeof clean);
            }
#endif
            append(std::addressof(value), sizeof value);
        } else {
            Base::operator()(value);
        }
    }

    std::string& out_;
};

/// Reads what Writer wrote, and never past the end.
class Reader : public cereal::InputArchive<Reader, cereal::AllowEmptyClassElision> {
    using Base = cereal::InputArchive<Reader, cereal::AllowEmptyClassElision>;

public:
    explicit Reader(std::string_view bytes) : Base{this}, rest_{bytes} {}

    template <class... Parts>
    Reader& operator()(Parts&&... parts) {
        (get(parts), ...);
        return *this;
    }
    template <class Part>
    Reader& operator&(Part&& part) {
        return (*this)(part);
    }
    template <class Part>
    Reader& operator>>(Part&& part) {
        return (*this)(part);
    }

    void take(void* into, std::size_t count) {
        if (count > rest_.size()) throw_damaged("it is truncated");
        if (count != 0) std::memcpy(into, rest_.data(), count);
        rest_.remove_prefix(count);
    }
    [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

private:
    template <class T>
    void get(cereal::NameValuePair<T>& pair) {
        get(pair.value);
    }
    template <class T>
    void get(cereal::SizeTag<T>& tag) {
        std::uint64_t count = 0;
        take(&count, sizeof count);
        if (count > rest_.size() && count > empty_elements_limit) {
            throw_damaged("a container has more elements than there are bytes");
        }
        tag.size = static_cast<std::remove_reference_t<T>>(count);
    }
    template <class T>
    void get(T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            unsigned char byte = 0;
            take(&byte, 1);
            if (byte > 1) throw_damaged("a bool is neither true nor false");
            value = byte == 1;
        } else if constexpr (ArenaSafe<T>) {
            take(std::addressof(value), sizeof value);
        } else {
            Base::operator()(value);
        }
    }

    std::string_view rest_;
};

// cereal looks for these to learn what the archives take; operator() above gets there first.
template <class T>
requires std::is_arithmetic_v<T>
void CEREAL_SAVE_FUNCTION_NAME(Writer& out, const T& value) {
    out.append(std::addressof(value), sizeof value);
}
template <class T>
requires std::is_arithmetic_v<T>
void CEREAL_LOAD_FUNCTION_NAME(Reader& in, T& value) { in(value); }
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(Writer& out, const cereal::BinaryData<T>& data) {
    out.append(data.data, static_cast<std::size_t>(data.size));
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(Reader& in, cereal::BinaryData<T>& data) {
    in.take(data.data, static_cast<std::size_t>(data.size));
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(Writer& out, const cereal::NameValuePair<T>& pair) {
    out(pair.value);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(Reader& in, cereal::NameValuePair<T>& pair) {
    in(pair.value);
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(Writer& out, const cereal::SizeTag<T>& tag) {
    out(tag);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(Reader& in, cereal::SizeTag<T>& tag) {
    in(tag);
}

/// Arena-safe, or something that cereal can take apart and make again.
template <class T>
concept Encodable = ArenaSafe<T> ||(cereal::traits::is_output_serializable<T, Writer>::value&&
                                        cereal::traits::is_input_serializable<T, Reader>::value&&
                                            std::is_default_constructible_v<T>);

/// Tells whether two programs mean the same by a list of types.
template <class... T>
std::uint64_t types_shape() {
    ShapeHash hash;
    [[maybe_unused]] const auto add = [&hash]<class One>(std::type_identity<One>) {
        hash.text(type_name<One>());
        if constexpr (ArenaSafe<One>) hash.number(type_shape<One>());
    };
    (add(std::type_identity<T>{}), ...);
    return hash.value();
}

template <class... T>
std::string encode(const T&... values) {
    static_assert((Encodable<T> && ...),
                  "lagoon: a value that goes to another process must be arena-safe, a standard "
                  "container of such values, or have cereal's `serialize` and a default "
                  "constructor");
    std::string bytes(2 * sizeof(std::uint64_t), '\0');
    Writer out{bytes};
    out(values...);
    const std::uint64_t shape = types_shape<T...>();
    std::memcpy(bytes.data(), &shape, sizeof shape);
    const std::uint64_t sum =
        checksum_of(std::string_view{bytes}.substr(2 * sizeof(std::uint64_t)));
    std::memcpy(bytes.data() + sizeof shape, &sum, sizeof sum);
    return bytes;
}

template <class T>
T decode_one(Reader& in) {
    if constexpr (std::is_same_v<T, bool> || !ArenaSafe<T>) {
        T value{};
        in(value);
        return value;
    } else {
        std::array<std::byte, sizeof(T)> bytes;
        in.take(bytes.data(), bytes.size());
        return std::bit_cast<T>(bytes);
    }
}

template <class... T>
std::tuple<T...> decode(std::string_view bytes) {
    constexpr std::size_t head = 2 * sizeof(std::uint64_t);
    if (bytes.size() < head) throw_damaged("it is truncated");
    std::array<std::uint64_t, 2> expected{};
    std::memcpy(expected.data(), bytes.data(), head);
    if (expected[0] != types_shape<T...>()) throw_damaged("it was made of other types");
    if (expected[1] != checksum_of(bytes.substr(head))) throw_damaged("its checksum is wrong");
    Reader in{bytes.substr(head)};
    try {
        // Braces: the values are read from left to right.
        std::tuple<T...> values{decode_one<T>(in)...};
        if (in.left() != 0) throw_damaged("bytes are left over");
        return values;
    } catch (const Error&) {
        throw;
    } catch (const std::exception& refused) {
        throw_damaged(refused.what());
    }
}

}  // namespace lagoon::inline v1::detail

CEREAL_SETUP_ARCHIVE_TRAITS(lagoon::detail::Reader, lagoon::detail::Writer)

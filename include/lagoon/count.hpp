// count.hpp: the type of every extent and capacity.
//
//   Unit       things, from 0
//   Errors     a negative number throws invalid_argument
#pragma once

#include <concepts>
#include <cstdint>

namespace lagoon::inline v1 {

namespace detail {
[[noreturn]] void negative_count(std::int64_t found);
}

/// Takes any integer and checks its sign, so that `{"squared", n}` works with an `int n`.
struct Count {
    constexpr Count() noexcept = default;
    template <std::integral Integer>
    constexpr Count(Integer count) : value{static_cast<std::uint64_t>(count)} {
        if constexpr (std::is_signed_v<Integer>) {
            if (count < 0) detail::negative_count(count);
        }
    }
    constexpr operator std::uint64_t() const noexcept { return value; }

    std::uint64_t value = 0;
};

}  // namespace lagoon::inline v1

// keeping.hpp: who is at work on what a thread keeps, and which slots it had better not keep.
#pragma once

#include <algorithm>
#include <cstdint>

#include <lagoon/detail/bias.hpp>

namespace lagoon::inline v1::detail {

constexpr std::uint32_t soon_leases = 8;  // two thefts within so many: contended
constexpr std::uint32_t first_rest = 64;  // releases to all, then
constexpr std::uint32_t last_rest = 64 * 1024;

/// The thread is at work on what it keeps: signal handlers take the paths that need none of it.
class Busy {
public:
    explicit Busy(Keeping& keeping) noexcept : keeping_{keeping}, in_handler_{keeping.busy} {
        keeping.busy = true;
        light_fence();
    }
    ~Busy() {
        light_fence();
        keeping_.busy = in_handler_;
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    /// The thread was at work on it already: this is a signal handler, which forgets nothing.
    [[nodiscard]] bool in_handler() const noexcept { return in_handler_; }

private:
    Keeping& keeping_;
    bool in_handler_;
};

/// This thread's place for what it knows of a contended slot.
inline Contended& contended(Keeping& keeping, std::uint64_t index) noexcept {
    return keeping.contended[index % contended_places];
}

/// The slot was taken from this thread after `leases` of them.
inline void count_theft(Keeping& keeping, std::uint64_t index, std::uint64_t leases) noexcept {
    Contended& place = contended(keeping, index);
    const bool soon = leases < soon_leases;
    const bool known = place.index_plus_1 == index + 1;
    if (soon && known && (place.term != 0 || place.leases + leases <= soon_leases)) {
        place.term = place.term == 0 ? first_rest : std::min(place.term * 8, last_rest);
        place.rest = place.term;
    } else if (soon) {
        place = {index + 1, static_cast<std::uint32_t>(leases), 0, 0};
    } else if (known) {
        place = {};
    }
}

/// Is the slot to be given back to all? Counts one such release.
inline bool is_contended(Keeping& keeping, std::uint64_t index) noexcept {
    Contended& place = contended(keeping, index);
    if (place.index_plus_1 != index + 1 || place.rest == 0) return false;
    --place.rest;
    return true;
}

/// For the place of a slot that is taken from the ring. One that is to be given back to all anyway
/// comes back the short way, and is counted here.
inline std::uint64_t mark_for(Keeping& keeping, std::uint64_t index) noexcept {
    return is_contended(keeping, index) ? 0 : keeping.lent_mark;
}

}  // namespace lagoon::inline v1::detail

// input.hpp: a fuzzer's bytes read as a script. Past its end every number is 0, so any bytes, and
// any prefix of them, are a script.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fuzz {

class Input {
public:
    Input(const std::uint8_t* bytes, std::size_t size) noexcept : at_{bytes}, left_{size} {}

    [[nodiscard]] bool empty() const noexcept { return left_ == 0; }

    template <class T = std::uint8_t>
    T take() noexcept {
        T number{};
        const std::size_t there = left_ < sizeof number ? left_ : sizeof number;
        if (there != 0) std::memcpy(&number, at_, there);
        at_ += there;
        left_ -= there;
        return number;
    }

    /// One of `limit` numbers from 0 on; 0 where there is none.
    std::uint64_t below(std::uint64_t limit) noexcept {
        const std::uint64_t number = limit > 0x100 ? take<std::uint32_t>() : take();
        return limit == 0 ? 0 : number % limit;
    }

    /// A new value for a word that is `before`: often one that means something.
    std::uint64_t word(std::uint64_t before) noexcept {
        constexpr std::array<std::uint64_t, 16> corners{0,
                                                        1,
                                                        2,
                                                        3,
                                                        63,
                                                        64,
                                                        0x3ff,
                                                        0x400,
                                                        0xffff,
                                                        0xffffffff,
                                                        std::uint64_t{1} << 40,
                                                        std::uint64_t{1} << 47,
                                                        std::uint64_t{1} << 63,
                                                        ~std::uint64_t{0},
                                                        ~std::uint64_t{0} - 1,
                                                        0x8000000000000001};
        const std::uint8_t how = take();
        switch (how % 8) {
            case 0: return take<std::uint64_t>();
            case 1: return corners[take() % corners.size()];
            case 2: return before ^ std::uint64_t{1} << (take() % 64);
            case 3: return before + take();
            case 4: return before - take();
            case 5: return before | std::uint64_t{take()} << (take() % 64);
            case 6: return take<std::uint16_t>();
            default: return before & ~(std::uint64_t{take()} << (take() % 64));
        }
    }

private:
    const std::uint8_t* at_;
    std::size_t left_;
};

}  // namespace fuzz

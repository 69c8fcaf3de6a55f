// dpdk_absent.cpp: stands in for dpdk_mempool.cpp where DPDK is not installed.
#include <stdexcept>

#include "dpdk_mempool.hpp"

namespace lagoon_perf {

std::string why_no_dpdk(Stage&) { return "this was built without the package libdpdk-dev"; }

Case dpdk_own_again(Stage&, const std::string&, std::uint32_t) {
    throw std::logic_error("there is no DPDK");
}

Case dpdk_swap_random(Stage&, const std::string&, std::uint32_t, std::size_t, Order) {
    throw std::logic_error("there is no DPDK");
}

}  // namespace lagoon_perf

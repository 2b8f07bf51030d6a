//! Whose a link-layer address is: a small table of makers that a data centre meets, and what the bits say where nobody bought a block.
//!
//! Facts from the IEEE's MA-L registry (and, for addresses that are locally administered by convention, from the projects that use them).
//! A whole registry is 3 MB for a name: what is not here is shown by its first three octets, which every `grep` finds.

use crate::event::frame::Mac;

/// Blocks of 24 bits.
const MAKERS: &[(&str, &[u32])] = &[
    ("VMware", &[0x00_50_56, 0x00_0c_29, 0x00_05_69, 0x00_1c_14]),
    ("Xen", &[0x00_16_3e]),
    ("Hyper-V", &[0x00_15_5d]),
    ("VirtualBox", &[0x08_00_27]),
    ("Parallels", &[0x00_1c_42]),
    ("Proxmox", &[0xbc_24_11]),
    (
        "Mellanox",
        &[
            0x00_02_c9, 0x24_8a_07, 0x7c_fe_90, 0xb8_59_9f, 0x0c_42_a1, 0xec_0d_9a, 0x98_03_9b,
            0x04_3f_72, 0x1c_34_da, 0xb8_ce_f6, 0x50_6b_4b, 0xe4_1d_2d,
        ],
    ),
    (
        "Intel",
        &[
            0x3c_fd_fe, 0xa0_36_9f, 0x90_e2_ba, 0x68_05_ca, 0xb4_96_91, 0x40_a6_b7, 0x6c_fe_54,
            0x00_1b_21, 0x00_04_23,
        ],
    ),
    ("Broadcom", &[0x00_10_18, 0xb0_26_28, 0x00_0a_f7]),
    ("Chelsio", &[0x00_07_43]),
    ("Solarflare", &[0x00_0f_53]),
    (
        "Supermicro",
        &[0x00_25_90, 0x0c_c4_7a, 0xac_1f_6b, 0x3c_ec_ef, 0x00_30_48],
    ),
    (
        "Dell",
        &[0xf8_bc_12, 0x24_6e_96, 0xb0_83_fe, 0x18_66_da, 0x14_18_77],
    ),
    (
        "HPE",
        &[0x9c_b6_54, 0xec_b1_d7, 0x94_40_c9, 0x48_df_37, 0x00_02_a5],
    ),
    ("Oracle", &[0x00_21_28]),
    ("Arista", &[0x00_1c_73, 0x44_4c_a8, 0x28_99_3a]),
    ("Cisco", &[0x00_00_0c]),
    ("Juniper", &[0x00_05_85, 0x00_19_e2]),
    ("Huawei", &[0x48_57_02, 0x00_e0_fc]),
    ("MikroTik", &[0x4c_5e_0c, 0x48_8f_5a]),
    ("Ubiquiti", &[0x24_a4_3c]),
    ("Gigabyte", &[0xd8_5e_d3]),
    ("ASUS", &[0x18_31_bf]),
    ("Realtek", &[0x00_e0_4c]),
    ("Raspberry Pi", &[0xb827eb, 0xdca632, 0xe45f01]),
    // RFC 9542 §2.1: IANA's own block; virtual routers (RFC 9568 §7.3) live in it.
    ("IANA", &[0x00_00_5e]),
    // kube-vip's DHCP service sends from 00:00:6c.
    ("kube-vip", &[0x00_00_6c]),
    // Locally administered by convention, not bought: libvirt and QEMU, OpenStack Neutron.
    ("QEMU/KVM", &[0x52_54_00]),
    ("OpenStack", &[0xfa_16_3e]),
];

/// Docker's bridges: 02:42 and the IPv4 address.
const DOCKER: [u8; 2] = [0x02, 0x42];

/// Who made the interface, as far as its address tells.
pub fn vendor(mac: Mac) -> Option<&'static str> {
    let [a, b, c, ..] = mac.0;
    let block = u32::from_be_bytes([0, a, b, c]);
    if let Some((name, _)) = MAKERS.iter().find(|(_, blocks)| blocks.contains(&block)) {
        return Some(name);
    }
    if [a, b] == DOCKER {
        return Some("Docker");
    }
    // The second lowest bit of the first octet (IEEE 802-2014 §8.2.2): made up by software, or a phone that hides.
    (a & 2 != 0).then_some("locally administered")
}

/// The first three octets.
pub fn block(mac: Mac) -> String {
    let [a, b, c, ..] = mac.0;
    format!("{a:02x}:{b:02x}:{c:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_conventions_and_bits_are_told_apart() {
        let of = |text: &str| vendor(text.parse().unwrap());
        assert_eq!(of("00:50:56:01:02:03"), Some("VMware"));
        assert_eq!(of("52:54:00:01:02:03"), Some("QEMU/KVM"));
        assert_eq!(of("02:42:ac:11:00:02"), Some("Docker"));
        assert_eq!(of("02:00:5e:00:53:01"), Some("locally administered"));
        assert_eq!(of("00:00:5e:00:53:01"), Some("IANA"));
        assert_eq!(of("00:aa:bb:01:02:03"), None);
    }

    #[test]
    fn no_block_is_listed_twice() {
        let mut all: Vec<u32> = MAKERS
            .iter()
            .flat_map(|(_, blocks)| blocks.iter().copied())
            .collect();
        let listed = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), listed);
    }
}

// Writes ts_mls_messages.json: real messages of ts-mls (suite 1), for the parser of the outside of MLS messages.
// Run: cd web && node --input-type=module < ../tests/keys/regenerate_ts_mls_messages.mjs > ../tests/keys/ts_mls_messages.json
import * as mls from "ts-mls";

const suite = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName("MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"));
const lifetime = { notBefore: 100n, notAfter: 2n ** 40n };
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const member = (name) =>
  mls.generateKeyPackage(
    { credentialType: "basic", identity: new TextEncoder().encode(name) },
    mls.defaultCapabilities(),
    lifetime,
    [],
    suite,
  );

const [ada, bea] = [await member("ada/1"), await member("bea/2")];
const group = await mls.createGroup(new Uint8Array(16).fill(7), ada.publicPackage, ada.privatePackage, [], suite);
const added = await mls.createCommit(
  { state: group, cipherSuite: suite },
  { extraProposals: [{ proposalType: "add", add: { keyPackage: bea.publicPackage } }], wireAsPublicMessage: false },
);
const sent = await mls.createApplicationMessage(added.newState, new TextEncoder().encode("hello"), suite);
const version = "mls10";
console.log(
  JSON.stringify(
    {
      key_package: hex(mls.encodeMlsMessage({ version, wireformat: "mls_key_package", keyPackage: bea.publicPackage })),
      signature_key: hex(bea.publicPackage.leafNode.signaturePublicKey),
      commit: hex(mls.encodeMlsMessage(added.commit)),
      welcome: hex(mls.encodeMlsMessage({ version, wireformat: "mls_welcome", welcome: added.welcome })),
      reference: hex(added.welcome.secrets[0].newMember),
      application: hex(mls.encodeMlsMessage({ version, wireformat: "mls_private_message", privateMessage: sent.privateMessage })),
    },
    null,
    1,
  ),
);

-- The schema app as its migrations leave it. Written by `make schema` from a live database: read it, never edit it.
-- Months of partitioned tables, Alembic's own table and rows that migrations insert are not in it.

set check_function_bodies = off;
set search_path = pg_catalog;
set role bulkhead_app_owner;

grant usage on schema app to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_backup, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_relay, bulkhead_identity_worker,
    bulkhead_issues_app, bulkhead_issues_definer, bulkhead_issues_owner, bulkhead_issues_relay,
    bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;

create or replace function app.current_tenant_id()
 returns uuid
 language sql
 stable parallel safe
return (nullif(current_setting('app.tenant_id'::text, true), ''::text))::uuid;
revoke all on function app.current_tenant_id() from public;
grant execute on function app.current_tenant_id() to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app,
    bulkhead_issues_definer, bulkhead_issues_owner, bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops,
    bulkhead_platform_app;
comment on function app.current_tenant_id() is
'The tenant of this transaction, or null. The only reader of app.tenant_id.';

create or replace function app.current_user_id()
 returns uuid
 language sql
 stable parallel safe
return (nullif(current_setting('app.user_id'::text, true), ''::text))::uuid;
revoke all on function app.current_user_id() from public;
grant execute on function app.current_user_id() to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app,
    bulkhead_issues_definer, bulkhead_issues_owner, bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops,
    bulkhead_platform_app;
comment on function app.current_user_id() is
'The user of this transaction, or null.';

create or replace function app.fold(p_text text)
 returns text
 language plpgsql
 immutable parallel safe
as $function$
begin
    return case
        when octet_length(p_text) = length(p_text)
        then btrim(regexp_replace(lower(p_text collate "C"), '[\u0009-\u000d ]+', ' ', 'g'), ' ')
        when normalize(p_text, nfkd) collate "C" ~ '['
        '\u0181-\u01bc\u01e4-\u01e4\u01f6-\u01f7\u021c-\u0224\u023a-\u024e'
    '\u0345-\u0345\u0370-\u0376\u037f-\u037f\u03cf-\u03cf\u03d8-\u03ee'
    '\u03f7-\u03ff\u0460-\u0480\u048a-\u04e8\u04f6-\u0556\u10a0-\u10cd'
    '\u13f8-\u13fd\u1c80-\u1cbf\u1efa-\u1efe\u2132-\u2132\u2183-\u2183'
    '\u2c00-\u2c2f\u2c60-\u2c75\u2c7e-\u2ce2\u2ceb-\u2cf2\ua640-\ua66c'
    '\ua680-\ua69a\ua722-\ua76e\ua779-\ua7d8\ua7f5-\ua7f5\uab70-\uabbf'
    '\U00010400-\U00010427\U000104b0-\U000104d3\U00010570-\U00010595\U00010c80-\U00010cb2\U000118a0-\U000118bf'
    '\U00016e40-\U00016e5f\U0001e900-\U0001e921]'
        then normalize(btrim(regexp_replace(replace(replace(translate(
    lower(regexp_replace(
    normalize(p_text, nfkd) collate "C",
    '['
    '\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164'
    '\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a'
    '\U000e0000-\U000e0fff]+',
    '', 'g'
    )),
    u&'\00c6\00d0\00d8\00de\0110\0126\0141\014a\0152\0166\0181\0182\0184\0186\0187\0189\018a\018b\018e\018f\0190'
    '\0191\0193\0194\0196\0197\0198\019c\019d\019f\01a2\01a4\01a6\01a7\01a9\01ac\01ae\01b1\01b2\01b3\01b5\01b7'
    '\01b8\01bc\01e4\01f6\01f7\021c\0220\0222\0224\023a\023b\023d\023e\0241\0243\0244\0245\0246\0248\024a\024c'
    '\024e\0345\0370\0372\0376\037f\0391\0392\0393\0394\0395\0396\0397\0398\0399\039a\039b\039c\039d\039e\039f'
    '\03a0\03a1\03a3\03a4\03a5\03a6\03a7\03a8\03a9\03c2\03cf\03d8\03da\03dc\03de\03e0\03e2\03e4\03e6\03e8\03ea'
    '\03ec\03ee\03f7\03fa\03fd\03fe\03ff\0402\0404\0405\0406\0408\0409\040a\040b\040f\0410\0411\0412\0413\0414'
    '\0415\0416\0417\0418\041a\041b\041c\041d\041e\041f\0420\0421\0422\0423\0424\0425\0426\0427\0428\0429\042a'
    '\042b\042c\042d\042e\042f\0460\0462\0464\0466\0468\046a\046c\046e\0470\0472\0474\0478\047a\047c\047e\0480'
    '\048a\048c\048e\0490\0492\0494\0496\0498\049a\049c\049e\04a0\04a2\04a4\04a6\04a8\04aa\04ac\04ae\04b0\04b2'
    '\04b4\04b6\04b8\04ba\04bc\04be\04c0\04c3\04c5\04c7\04c9\04cb\04cd\04d4\04d8\04e0\04e8\04f6\04fa\04fc\04fe'
    '\0500\0502\0504\0506\0508\050a\050c\050e\0510\0512\0514\0516\0518\051a\051c\051e\0520\0522\0524\0526\0528'
    '\052a\052c\052e\0531\0532\0533\0534\0535\0536\0537\0538\0539\053a\053b\053c\053d\053e\053f\0540\0541\0542'
    '\0543\0544\0545\0546\0547\0548\0549\054a\054b\054c\054d\054e\054f\0550\0551\0552\0553\0554\0555\0556\10a0'
    '\10a1\10a2\10a3\10a4\10a5\10a6\10a7\10a8\10a9\10aa\10ab\10ac\10ad\10ae\10af\10b0\10b1\10b2\10b3\10b4\10b5'
    '\10b6\10b7\10b8\10b9\10ba\10bb\10bc\10bd\10be\10bf\10c0\10c1\10c2\10c3\10c4\10c5\10c7\10cd\13f8\13f9\13fa'
    '\13fb\13fc\13fd\1c80\1c81\1c82\1c83\1c84\1c85\1c86\1c87\1c88\1c90\1c91\1c92\1c93\1c94\1c95\1c96\1c97\1c98'
    '\1c99\1c9a\1c9b\1c9c\1c9d\1c9e\1c9f\1ca0\1ca1\1ca2\1ca3\1ca4\1ca5\1ca6\1ca7\1ca8\1ca9\1caa\1cab\1cac\1cad'
    '\1cae\1caf\1cb0\1cb1\1cb2\1cb3\1cb4\1cb5\1cb6\1cb7\1cb8\1cb9\1cba\1cbd\1cbe\1cbf\1efa\1efc\1efe\2132\2183'
    '\2c00\2c01\2c02\2c03\2c04\2c05\2c06\2c07\2c08\2c09\2c0a\2c0b\2c0c\2c0d\2c0e\2c0f\2c10\2c11\2c12\2c13\2c14'
    '\2c15\2c16\2c17\2c18\2c19\2c1a\2c1b\2c1c\2c1d\2c1e\2c1f\2c20\2c21\2c22\2c23\2c24\2c25\2c26\2c27\2c28\2c29'
    '\2c2a\2c2b\2c2c\2c2d\2c2e\2c2f\2c60\2c62\2c63\2c64\2c67\2c69\2c6b\2c6d\2c6e\2c6f\2c70\2c72\2c75\2c7e\2c7f'
    '\2c80\2c82\2c84\2c86\2c88\2c8a\2c8c\2c8e\2c90\2c92\2c94\2c96\2c98\2c9a\2c9c\2c9e\2ca0\2ca2\2ca4\2ca6\2ca8'
    '\2caa\2cac\2cae\2cb0\2cb2\2cb4\2cb6\2cb8\2cba\2cbc\2cbe\2cc0\2cc2\2cc4\2cc6\2cc8\2cca\2ccc\2cce\2cd0\2cd2'
    '\2cd4\2cd6\2cd8\2cda\2cdc\2cde\2ce0\2ce2\2ceb\2ced\2cf2\a640\a642\a644\a646\a648\a64a\a64c\a64e\a650\a652'
    '\a654\a656\a658\a65a\a65c\a65e\a660\a662\a664\a666\a668\a66a\a66c\a680\a682\a684\a686\a688\a68a\a68c\a68e'
    '\a690\a692\a694\a696\a698\a69a\a722\a724\a726\a728\a72a\a72c\a72e\a732\a734\a736\a738\a73a\a73c\a73e\a740'
    '\a742\a744\a746\a748\a74a\a74c\a74e\a750\a752\a754\a756\a758\a75a\a75c\a75e\a760\a762\a764\a766\a768\a76a'
    '\a76c\a76e\a779\a77b\a77d\a77e\a780\a782\a784\a786\a78b\a78d\a790\a792\a796\a798\a79a\a79c\a79e\a7a0\a7a2'
    '\a7a4\a7a6\a7a8\a7aa\a7ab\a7ac\a7ad\a7ae\a7b0\a7b1\a7b2\a7b3\a7b4\a7b6\a7b8\a7ba\a7bc\a7be\a7c0\a7c2\a7c4'
    '\a7c5\a7c6\a7c7\a7c9\a7d0\a7d6\a7d8\a7f5\ab70\ab71\ab72\ab73\ab74\ab75\ab76\ab77\ab78\ab79\ab7a\ab7b\ab7c'
    '\ab7d\ab7e\ab7f\ab80\ab81\ab82\ab83\ab84\ab85\ab86\ab87\ab88\ab89\ab8a\ab8b\ab8c\ab8d\ab8e\ab8f\ab90\ab91'
    '\ab92\ab93\ab94\ab95\ab96\ab97\ab98\ab99\ab9a\ab9b\ab9c\ab9d\ab9e\ab9f\aba0\aba1\aba2\aba3\aba4\aba5\aba6'
    '\aba7\aba8\aba9\abaa\abab\abac\abad\abae\abaf\abb0\abb1\abb2\abb3\abb4\abb5\abb6\abb7\abb8\abb9\abba\abbb'
    '\abbc\abbd\abbe\abbf\+010400\+010401\+010402\+010403\+010404\+010405\+010406\+010407\+010408\+010409\+01040a'
    '\+01040b\+01040c\+01040d\+01040e\+01040f\+010410\+010411\+010412\+010413\+010414\+010415\+010416\+010417'
    '\+010418\+010419\+01041a\+01041b\+01041c\+01041d\+01041e\+01041f\+010420\+010421\+010422\+010423\+010424'
    '\+010425\+010426\+010427\+0104b0\+0104b1\+0104b2\+0104b3\+0104b4\+0104b5\+0104b6\+0104b7\+0104b8\+0104b9'
    '\+0104ba\+0104bb\+0104bc\+0104bd\+0104be\+0104bf\+0104c0\+0104c1\+0104c2\+0104c3\+0104c4\+0104c5\+0104c6'
    '\+0104c7\+0104c8\+0104c9\+0104ca\+0104cb\+0104cc\+0104cd\+0104ce\+0104cf\+0104d0\+0104d1\+0104d2\+0104d3'
    '\+010570\+010571\+010572\+010573\+010574\+010575\+010576\+010577\+010578\+010579\+01057a\+01057c\+01057d'
    '\+01057e\+01057f\+010580\+010581\+010582\+010583\+010584\+010585\+010586\+010587\+010588\+010589\+01058a'
    '\+01058c\+01058d\+01058e\+01058f\+010590\+010591\+010592\+010594\+010595\+010c80\+010c81\+010c82\+010c83'
    '\+010c84\+010c85\+010c86\+010c87\+010c88\+010c89\+010c8a\+010c8b\+010c8c\+010c8d\+010c8e\+010c8f\+010c90'
    '\+010c91\+010c92\+010c93\+010c94\+010c95\+010c96\+010c97\+010c98\+010c99\+010c9a\+010c9b\+010c9c\+010c9d'
    '\+010c9e\+010c9f\+010ca0\+010ca1\+010ca2\+010ca3\+010ca4\+010ca5\+010ca6\+010ca7\+010ca8\+010ca9\+010caa'
    '\+010cab\+010cac\+010cad\+010cae\+010caf\+010cb0\+010cb1\+010cb2\+0118a0\+0118a1\+0118a2\+0118a3\+0118a4'
    '\+0118a5\+0118a6\+0118a7\+0118a8\+0118a9\+0118aa\+0118ab\+0118ac\+0118ad\+0118ae\+0118af\+0118b0\+0118b1'
    '\+0118b2\+0118b3\+0118b4\+0118b5\+0118b6\+0118b7\+0118b8\+0118b9\+0118ba\+0118bb\+0118bc\+0118bd\+0118be'
    '\+0118bf\+016e40\+016e41\+016e42\+016e43\+016e44\+016e45\+016e46\+016e47\+016e48\+016e49\+016e4a\+016e4b'
    '\+016e4c\+016e4d\+016e4e\+016e4f\+016e50\+016e51\+016e52\+016e53\+016e54\+016e55\+016e56\+016e57\+016e58'
    '\+016e59\+016e5a\+016e5b\+016e5c\+016e5d\+016e5e\+016e5f\+01e900\+01e901\+01e902\+01e903\+01e904\+01e905'
    '\+01e906\+01e907\+01e908\+01e909\+01e90a\+01e90b\+01e90c\+01e90d\+01e90e\+01e90f\+01e910\+01e911\+01e912'
    '\+01e913\+01e914\+01e915\+01e916\+01e917\+01e918\+01e919\+01e91a\+01e91b\+01e91c\+01e91d\+01e91e\+01e91f'
    '\+01e920\+01e921',
    u&'\00e6\00f0\00f8\00fe\0111\0127\0142\014b\0153\0167\0253\0183\0185\0254\0188\0256\0257\018c\01dd\0259\025b'
    '\0192\0260\0263\0269\0268\0199\026f\0272\0275\01a3\01a5\0280\01a8\0283\01ad\0288\028a\028b\01b4\01b6\0292'
    '\01b9\01bd\01e5\0195\01bf\021d\019e\0223\0225\2c65\023c\019a\2c66\0242\0180\0289\028c\0247\0249\024b\024d'
    '\024f\03b9\0371\0373\0377\03f3\03b1\03b2\03b3\03b4\03b5\03b6\03b7\03b8\03b9\03ba\03bb\03bc\03bd\03be\03bf'
    '\03c0\03c1\03c3\03c4\03c5\03c6\03c7\03c8\03c9\03c3\03d7\03d9\03db\03dd\03df\03e1\03e3\03e5\03e7\03e9\03eb'
    '\03ed\03ef\03f8\03fb\037b\037c\037d\0452\0454\0455\0456\0458\0459\045a\045b\045f\0430\0431\0432\0433\0434'
    '\0435\0436\0437\0438\043a\043b\043c\043d\043e\043f\0440\0441\0442\0443\0444\0445\0446\0447\0448\0449\044a'
    '\044b\044c\044d\044e\044f\0461\0463\0465\0467\0469\046b\046d\046f\0471\0473\0475\0479\047b\047d\047f\0481'
    '\048b\048d\048f\0491\0493\0495\0497\0499\049b\049d\049f\04a1\04a3\04a5\04a7\04a9\04ab\04ad\04af\04b1\04b3'
    '\04b5\04b7\04b9\04bb\04bd\04bf\04cf\04c4\04c6\04c8\04ca\04cc\04ce\04d5\04d9\04e1\04e9\04f7\04fb\04fd\04ff'
    '\0501\0503\0505\0507\0509\050b\050d\050f\0511\0513\0515\0517\0519\051b\051d\051f\0521\0523\0525\0527\0529'
    '\052b\052d\052f\0561\0562\0563\0564\0565\0566\0567\0568\0569\056a\056b\056c\056d\056e\056f\0570\0571\0572'
    '\0573\0574\0575\0576\0577\0578\0579\057a\057b\057c\057d\057e\057f\0580\0581\0582\0583\0584\0585\0586\2d00'
    '\2d01\2d02\2d03\2d04\2d05\2d06\2d07\2d08\2d09\2d0a\2d0b\2d0c\2d0d\2d0e\2d0f\2d10\2d11\2d12\2d13\2d14\2d15'
    '\2d16\2d17\2d18\2d19\2d1a\2d1b\2d1c\2d1d\2d1e\2d1f\2d20\2d21\2d22\2d23\2d24\2d25\2d27\2d2d\13f0\13f1\13f2'
    '\13f3\13f4\13f5\0432\0434\043e\0441\0442\0442\044a\0463\a64b\10d0\10d1\10d2\10d3\10d4\10d5\10d6\10d7\10d8'
    '\10d9\10da\10db\10dc\10dd\10de\10df\10e0\10e1\10e2\10e3\10e4\10e5\10e6\10e7\10e8\10e9\10ea\10eb\10ec\10ed'
    '\10ee\10ef\10f0\10f1\10f2\10f3\10f4\10f5\10f6\10f7\10f8\10f9\10fa\10fd\10fe\10ff\1efb\1efd\1eff\214e\2184'
    '\2c30\2c31\2c32\2c33\2c34\2c35\2c36\2c37\2c38\2c39\2c3a\2c3b\2c3c\2c3d\2c3e\2c3f\2c40\2c41\2c42\2c43\2c44'
    '\2c45\2c46\2c47\2c48\2c49\2c4a\2c4b\2c4c\2c4d\2c4e\2c4f\2c50\2c51\2c52\2c53\2c54\2c55\2c56\2c57\2c58\2c59'
    '\2c5a\2c5b\2c5c\2c5d\2c5e\2c5f\2c61\026b\1d7d\027d\2c68\2c6a\2c6c\0251\0271\0250\0252\2c73\2c76\023f\0240'
    '\2c81\2c83\2c85\2c87\2c89\2c8b\2c8d\2c8f\2c91\2c93\2c95\2c97\2c99\2c9b\2c9d\2c9f\2ca1\2ca3\2ca5\2ca7\2ca9'
    '\2cab\2cad\2caf\2cb1\2cb3\2cb5\2cb7\2cb9\2cbb\2cbd\2cbf\2cc1\2cc3\2cc5\2cc7\2cc9\2ccb\2ccd\2ccf\2cd1\2cd3'
    '\2cd5\2cd7\2cd9\2cdb\2cdd\2cdf\2ce1\2ce3\2cec\2cee\2cf3\a641\a643\a645\a647\a649\a64b\a64d\a64f\a651\a653'
    '\a655\a657\a659\a65b\a65d\a65f\a661\a663\a665\a667\a669\a66b\a66d\a681\a683\a685\a687\a689\a68b\a68d\a68f'
    '\a691\a693\a695\a697\a699\a69b\a723\a725\a727\a729\a72b\a72d\a72f\a733\a735\a737\a739\a73b\a73d\a73f\a741'
    '\a743\a745\a747\a749\a74b\a74d\a74f\a751\a753\a755\a757\a759\a75b\a75d\a75f\a761\a763\a765\a767\a769\a76b'
    '\a76d\a76f\a77a\a77c\1d79\a77f\a781\a783\a785\a787\a78c\0265\a791\a793\a797\a799\a79b\a79d\a79f\a7a1\a7a3'
    '\a7a5\a7a7\a7a9\0266\025c\0261\026c\026a\029e\0287\029d\ab53\a7b5\a7b7\a7b9\a7bb\a7bd\a7bf\a7c1\a7c3\a794'
    '\0282\1d8e\a7c8\a7ca\a7d1\a7d7\a7d9\a7f6\13a0\13a1\13a2\13a3\13a4\13a5\13a6\13a7\13a8\13a9\13aa\13ab\13ac'
    '\13ad\13ae\13af\13b0\13b1\13b2\13b3\13b4\13b5\13b6\13b7\13b8\13b9\13ba\13bb\13bc\13bd\13be\13bf\13c0\13c1'
    '\13c2\13c3\13c4\13c5\13c6\13c7\13c8\13c9\13ca\13cb\13cc\13cd\13ce\13cf\13d0\13d1\13d2\13d3\13d4\13d5\13d6'
    '\13d7\13d8\13d9\13da\13db\13dc\13dd\13de\13df\13e0\13e1\13e2\13e3\13e4\13e5\13e6\13e7\13e8\13e9\13ea\13eb'
    '\13ec\13ed\13ee\13ef\+010428\+010429\+01042a\+01042b\+01042c\+01042d\+01042e\+01042f\+010430\+010431\+010432'
    '\+010433\+010434\+010435\+010436\+010437\+010438\+010439\+01043a\+01043b\+01043c\+01043d\+01043e\+01043f'
    '\+010440\+010441\+010442\+010443\+010444\+010445\+010446\+010447\+010448\+010449\+01044a\+01044b\+01044c'
    '\+01044d\+01044e\+01044f\+0104d8\+0104d9\+0104da\+0104db\+0104dc\+0104dd\+0104de\+0104df\+0104e0\+0104e1'
    '\+0104e2\+0104e3\+0104e4\+0104e5\+0104e6\+0104e7\+0104e8\+0104e9\+0104ea\+0104eb\+0104ec\+0104ed\+0104ee'
    '\+0104ef\+0104f0\+0104f1\+0104f2\+0104f3\+0104f4\+0104f5\+0104f6\+0104f7\+0104f8\+0104f9\+0104fa\+0104fb'
    '\+010597\+010598\+010599\+01059a\+01059b\+01059c\+01059d\+01059e\+01059f\+0105a0\+0105a1\+0105a3\+0105a4'
    '\+0105a5\+0105a6\+0105a7\+0105a8\+0105a9\+0105aa\+0105ab\+0105ac\+0105ad\+0105ae\+0105af\+0105b0\+0105b1'
    '\+0105b3\+0105b4\+0105b5\+0105b6\+0105b7\+0105b8\+0105b9\+0105bb\+0105bc\+010cc0\+010cc1\+010cc2\+010cc3'
    '\+010cc4\+010cc5\+010cc6\+010cc7\+010cc8\+010cc9\+010cca\+010ccb\+010ccc\+010ccd\+010cce\+010ccf\+010cd0'
    '\+010cd1\+010cd2\+010cd3\+010cd4\+010cd5\+010cd6\+010cd7\+010cd8\+010cd9\+010cda\+010cdb\+010cdc\+010cdd'
    '\+010cde\+010cdf\+010ce0\+010ce1\+010ce2\+010ce3\+010ce4\+010ce5\+010ce6\+010ce7\+010ce8\+010ce9\+010cea'
    '\+010ceb\+010cec\+010ced\+010cee\+010cef\+010cf0\+010cf1\+010cf2\+0118c0\+0118c1\+0118c2\+0118c3\+0118c4'
    '\+0118c5\+0118c6\+0118c7\+0118c8\+0118c9\+0118ca\+0118cb\+0118cc\+0118cd\+0118ce\+0118cf\+0118d0\+0118d1'
    '\+0118d2\+0118d3\+0118d4\+0118d5\+0118d6\+0118d7\+0118d8\+0118d9\+0118da\+0118db\+0118dc\+0118dd\+0118de'
    '\+0118df\+016e60\+016e61\+016e62\+016e63\+016e64\+016e65\+016e66\+016e67\+016e68\+016e69\+016e6a\+016e6b'
    '\+016e6c\+016e6d\+016e6e\+016e6f\+016e70\+016e71\+016e72\+016e73\+016e74\+016e75\+016e76\+016e77\+016e78'
    '\+016e79\+016e7a\+016e7b\+016e7c\+016e7d\+016e7e\+016e7f\+01e922\+01e923\+01e924\+01e925\+01e926\+01e927'
    '\+01e928\+01e929\+01e92a\+01e92b\+01e92c\+01e92d\+01e92e\+01e92f\+01e930\+01e931\+01e932\+01e933\+01e934'
    '\+01e935\+01e936\+01e937\+01e938\+01e939\+01e93a\+01e93b\+01e93c\+01e93d\+01e93e\+01e93f\+01e940\+01e941'
    '\+01e942\+01e943'
    ), u&'\00df', 'ss'), u&'\1e9e', 'ss'),
    '['
    '\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000]+',
    ' ', 'g'
    ), ' '), nfkc)
        else normalize(btrim(regexp_replace(replace(replace(translate(
    lower(regexp_replace(
    normalize(p_text, nfkd) collate "C",
    '['
    '\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164'
    '\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a'
    '\U000e0000-\U000e0fff]+',
    '', 'g'
    )),
    u&'\00c6\00d0\00d8\00de\0110\0126\0141\014a\0152\0166\0391\0392\0393\0394\0395\0396\0397\0398\0399\039a\039b'
    '\039c\039d\039e\039f\03a0\03a1\03a3\03a4\03a5\03a6\03a7\03a8\03a9\03c2\0402\0404\0405\0406\0408\0409\040a'
    '\040b\040f\0410\0411\0412\0413\0414\0415\0416\0417\0418\041a\041b\041c\041d\041e\041f\0420\0421\0422\0423'
    '\0424\0425\0426\0427\0428\0429\042a\042b\042c\042d\042e\042f',
    u&'\00e6\00f0\00f8\00fe\0111\0127\0142\014b\0153\0167\03b1\03b2\03b3\03b4\03b5\03b6\03b7\03b8\03b9\03ba\03bb'
    '\03bc\03bd\03be\03bf\03c0\03c1\03c3\03c4\03c5\03c6\03c7\03c8\03c9\03c3\0452\0454\0455\0456\0458\0459\045a'
    '\045b\045f\0430\0431\0432\0433\0434\0435\0436\0437\0438\043a\043b\043c\043d\043e\043f\0440\0441\0442\0443'
    '\0444\0445\0446\0447\0448\0449\044a\044b\044c\044d\044e\044f'
    ), u&'\00df', 'ss'), u&'\1e9e', 'ss'),
    '['
    '\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000]+',
    ' ', 'g'
    ), ' '), nfkc)
    end;
end
$function$;
revoke all on function app.fold(text) from public;
grant execute on function app.fold(text) to bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer,
    bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_definer,
    bulkhead_issues_owner, bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.fold(text) is
'What names are compared by: without case, width, form, what nobody sees, and kinds and numbers of blanks.';

create or replace function app.importing()
 returns boolean
 language sql
 stable parallel safe
return (coalesce((current_setting('app.importing'::text, true) = 'on'::text), false) and (coalesce((nullif(current_setting('app.role'::text, true), ''::text))::smallint, (0)::smallint) >= 4));
revoke all on function app.importing() from public;
grant execute on function app.importing() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_audit_partition,
    bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_owner,
    bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_owner, bulkhead_issues_search,
    bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.importing() is
'True while an import by an admin or above brings rows with times of their own.';

create or replace function app.is_writing()
 returns boolean
 language sql
 stable
return (coalesce(current_setting('app.writing'::text, true), ''::text) = 'true'::text);
revoke all on function app.is_writing() from public;
grant execute on function app.is_writing() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_identity_app,
    bulkhead_identity_owner, bulkhead_issues_app, bulkhead_issues_owner;
comment on function app.is_writing() is
'Whether this transaction was entered for writing: only then has it waited for the fence of its tenant and member.';

create or replace function app.platform_log_id()
 returns uuid
 language sql
 immutable parallel safe
return '00000000-0000-0000-0000-000000000001'::uuid;
revoke all on function app.platform_log_id() from public;
grant execute on function app.platform_log_id() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_audit_partition,
    bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_owner,
    bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_definer, bulkhead_issues_owner,
    bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.platform_log_id() is
'The reserved tenant of the log of everything that happens outside any tenant. Nobody is a member of it.';

create or replace function app.principal()
 returns text
 language sql
 stable parallel safe
return coalesce(nullif(current_setting('app.user_id'::text, true), ''::text), nullif(current_setting('app.service'::text, true), ''::text));
revoke all on function app.principal() from public;
grant execute on function app.principal() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_audit_partition,
    bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_owner,
    bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_owner, bulkhead_issues_search,
    bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.principal() is
'Who a call counts for: the user, else the calling service, else null.';

create or replace function app.role_level()
 returns smallint
 language sql
 stable parallel safe
return coalesce((nullif(current_setting('app.role'::text, true), ''::text))::smallint, (0)::smallint);
revoke all on function app.role_level() from public;
grant execute on function app.role_level() to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app,
    bulkhead_issues_definer, bulkhead_issues_owner, bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops,
    bulkhead_platform_app;
comment on function app.role_level() is
'0 nobody, 1 viewer, 2 member, 3 manager, 4 admin, 5 owner, 6 another service.';

create or replace function app.are_facts(p_changes jsonb, p_patterns jsonb)
 returns boolean
 language sql
 immutable parallel safe
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
select coalesce(
    case jsonb_typeof(p_changes) when 'object' then p_changes - array(select jsonb_object_keys(p_patterns)) = '{}' end,
    false
) and not exists (
    select from jsonb_each_text(p_patterns) as p
    -- An array with anything else in it, or no array, is not its own second element behind a null.
    where not coalesce(
        p_changes -> p.key = jsonb_build_array(null, p_changes -> p.key -> 1)
        and jsonb_typeof(p_changes -> p.key -> 1) in ('string', 'number')
        and p_changes -> p.key ->> 1 ~ p.value,
        false
    )
)
$function$;
revoke all on function app.are_facts(jsonb, jsonb) from public;
grant execute on function app.are_facts(jsonb, jsonb) to bulkhead_identity_definer, bulkhead_issues_definer;
comment on function app.are_facts(jsonb, jsonb) is
'Whether changes are just the named facts: each [null, text or number], whose text matches the name''s pattern.';

create or replace procedure app.capture_on(in p_table regclass, in p_entity text, in p_key text[], in p_excluded text[] default '{}'::text[], in p_context jsonb default '{}'::jsonb, in p_fields jsonb default null::jsonb, in p_removals boolean default true)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
declare
    v_schema text;
    v_name text;
    v_function text;
    v_columns text[];
    v_noise constant text[] := array['tenant_id', 'created_at', 'created_by', 'updated_at', 'version'];
    v_tenant text;
    v_column text;
    v_field record;
    v_spec jsonb;
    v_fields jsonb := '{}';
    v_value text;
    v_always text[] := '{}';
    v_inserted text := '';
    v_updated text := '';
    v_verb text := '''updated''';
    v_context jsonb;
begin
    select n.nspname, c.relname into strict v_schema, v_name
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    v_function := format('%I.%I', v_schema, 'capture_' || v_name);

    select array_agg(a.attname::text order by a.attnum) into strict v_columns
    from pg_attribute as a
    where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped and a.attgenerated = '';
    if
        not p_excluded <@ v_columns or not p_key <@ v_columns
        or not array(select jsonb_object_keys(coalesce(p_fields, '{}'))) <@ v_columns
    then
        raise exception 'app.capture_on(%): a named column does not exist', p_table;
    end if;

    v_tenant := case when 'tenant_id' = any(v_columns) then 'r.tenant_id' else 'app.platform_log_id()' end;
    v_context := jsonb_build_object('tenant_id', v_tenant, 'project_id', 'null::uuid', 'visibility', '1::smallint')
        || p_context;

    for v_field in
        select a.attname::text as name, a.attnotnull as always, f.spec, coalesce(
            f.spec ->> 'form',
            case
                when p_fields is null then null
                when a.atttypid = 'timestamptz'::regtype then 'time'
                when a.atttypid = 'numeric'::regtype then 'text'
            end
        ) as form
        from pg_attribute as a
        cross join lateral (
            select case jsonb_typeof(p_fields -> a.attname::text)
                when 'string' then jsonb_build_object('field', p_fields -> a.attname::text)
                when 'object' then p_fields -> a.attname::text
                else jsonb_build_object('field', a.attname)
            end as spec
        ) as f
        where a.attrelid = p_table and a.attname = any(v_columns)
            and (
                coalesce(p_fields ? a.attname::text, false)
                or not (a.attname = any(v_noise) or a.attname = any(p_excluded) or a.attname = any(p_key))
            )
        order by a.attnum
    loop
        v_spec := jsonb_strip_nulls(v_field.spec || jsonb_build_object('form', v_field.form));
        v_fields := v_fields || jsonb_build_object(v_field.name, v_spec);
        -- Of the row %1$s.
        v_value := format('%%1$s.%I', v_field.name);
        if v_spec ? 'values' then
            select format('case %s %s else %1$s::text end', v_value, string_agg(
                format('when %L then %L', v.key, v.value), ' ' order by length(v.key), v.key
            ))
            into strict v_value from jsonb_each_text(v_spec -> 'values') as v;
        elsif v_spec ->> 'form' = 'time' then
            v_value := format('app.time_text(%s)', v_value);
        elsif v_spec ->> 'form' = 'text' then
            v_value := v_value || '::text';
        end if;
        if v_spec ? 'unless' then
            v_value := format('(case when %%1$s.%I is null then %s end)', v_spec ->> 'unless', v_value);
        end if;
        if p_fields is not null and v_field.always and not v_spec ? 'unless' then
            v_always := v_always
                || format('%L, jsonb_build_array(null, %s)', v_spec ->> 'field', format(v_value, 'r'));
        else
            v_inserted := v_inserted || format(
                'if %1$s is not null then '
                'v_changes := v_changes || jsonb_build_object(%2$L, jsonb_build_array(null, %3$s)); end if; ',
                case when v_spec ? 'unless' then format(v_value, 'r') else format('r.%I', v_field.name) end,
                v_spec ->> 'field', format(v_value, 'r')
            );
        end if;
        v_updated := v_updated || format(
            'if %1$s is distinct from %2$s then v_changes := v_changes || '
            'jsonb_build_object(%3$L, jsonb_build_array(%4$s, %5$s)); end if; ',
            case when v_spec ? 'unless' then format(v_value, 'r') else format('r.%I', v_field.name) end,
            case when v_spec ? 'unless' then format(v_value, 'old') else format('old.%I', v_field.name) end,
            v_spec ->> 'field', format(v_value, 'old'), format(v_value, 'r')
        );
    end loop;
    if cardinality(v_always) > 0 then
        v_inserted := format('v_changes := jsonb_build_object(%s); ', array_to_string(v_always, ', ')) || v_inserted;
    end if;
    if (select count(distinct f.value ->> 'field') < count(*) from jsonb_each(v_fields) as f) then
        raise exception 'app.capture_on(%): two columns are one field', p_table;
    end if;
    -- What people call the change, where a column says so.
    foreach v_column in array array['deleted_at', 'archived_at', 'removed_at', 'revoked_at']
    loop
        continue when not v_column = any(v_columns);
        v_verb := format(
            'case when r.%1$I is not null and old.%1$I is null then %2$L '
            'when r.%1$I is null and old.%1$I is not null then %3$L else %4$s end',
            v_column, split_part(v_column, '_', 1),
            case v_column
                when 'deleted_at' then 'undeleted' when 'archived_at' then 'unarchived'
                when 'removed_at' then 'added' else 'granted'
            end,
            v_verb
        );
    end loop;

    execute format($sql$
        create or replace function %1$s() returns trigger
        language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        as $body$
        declare
            r %2$s;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                %3$s
            else
                r := new;
                %4$s
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := %5$s;
            end if;
            insert into %6$I.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                %7$s, %8$L || '.' || v_verb, %8$L, r.%9$I, %10$s, %11$s, %12$s, v_changes
            );
            return null;
        end
        $body$
    $sql$,
        v_function, p_table::text, v_inserted, v_updated, v_verb, v_schema, v_context ->> 'tenant_id', p_entity,
        p_key[1], coalesce('r.' || quote_ident(p_key[2]), 'null::uuid'), v_context ->> 'project_id',
        v_context ->> 'visibility'
    );
    execute format('revoke all on function %s() from public', v_function);
    execute format('comment on function %s() is %L', v_function, 'Capture: leaves an outbox row for every change of ' || p_table::text || '.');
    execute format(
        'create or replace trigger zz_capture after insert or update %s on %s for each row execute function %s(%s)',
        case when p_removals then 'or delete' end, p_table::text, v_function,
        case when p_fields is not null then format('%L, %L', p_entity, v_fields) end
    );
end
$procedure$;
revoke all on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) from public;
grant execute on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) to
    bulkhead_audit_owner, bulkhead_identity_owner, bulkhead_issues_owner;
comment on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) is
'Captures every change of a table into its service''s outbox: entity name, key columns (entity_id, sub_id), columns that never leave, SQL expressions over the row r for project_id, visibility or tenant_id, and of columns what field of the contract they are: a name, or field with values (stored -> the contract''s) or unless (a column: no value while it has one). The trigger''s arguments keep it. Without that, columns and values go as they are.';

create or replace function app.captured_fields(p_table regclass)
 returns jsonb
 language sql
 stable parallel safe
return (select (nullif(split_part(encode(pg_trigger.tgargs, 'escape'::text), '\000'::text, 2), ''::text))::jsonb as "nullif" from pg_trigger where ((pg_trigger.tgrelid = (captured_fields.p_table)::oid) and (pg_trigger.tgname = 'zz_capture'::name)));
revoke all on function app.captured_fields(regclass) from public;
grant execute on function app.captured_fields(regclass) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on function app.captured_fields(regclass) is
'What field of the contract each captured column of a table is, and the form of its values; else null.';

create or replace function app.is_refused_call(p_schema text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb)
 returns boolean
 language sql
 stable parallel safe
return coalesce(((p_outcome = 'denied'::text) and (p_entity_type = case when (app.current_user_id() is null) then 'service'::text else 'user'::text end) and (p_entity_id = coalesce(app.current_user_id(), '00000000-0000-0000-0000-000000000000'::uuid)) and starts_with(current_setting('app.rpc'::text, true), (('bulkhead.'::text || p_schema) || '.'::text)) and app.are_facts(p_changes, '{"calls": "^[1-9][0-9]{0,17}$", "reason": "^[A-Z][A-Z0-9_]{0,99}$"}'::jsonb)), false);
revoke all on function app.is_refused_call(text, text, uuid, text, jsonb) from public;
grant execute on function app.is_refused_call(text, text, uuid, text, jsonb) to bulkhead_identity_definer,
    bulkhead_issues_definer;
comment on function app.is_refused_call(text, text, uuid, text, jsonb) is
'Whether it is the event of a call that the service refused to whoever the context names.';

create or replace procedure app.outbox_in(in p_schema text)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
begin
    execute format($sql$
        create table %1$I.outbox (
            outbox_id bigint generated always as identity,
            tenant_id uuid not null,
            event_id uuid not null default gen_random_uuid(),
            occurred_at timestamptz not null default clock_timestamp(),
            action text not null,
            entity_type text not null,
            entity_id uuid not null,
            sub_id uuid,
            project_id uuid,
            visibility smallint not null default 1,
            outcome text not null default 'ok',
            changes jsonb not null default '{}',
            actor_id uuid default app.current_user_id(),
            actor_type text not null
                default coalesce(nullif(current_setting('app.actor_type', true), ''), 'database'),
            on_behalf_of uuid default nullif(current_setting('app.on_behalf_of', true), '')::uuid,
            service text default nullif(current_setting('app.service', true), ''),
            rpc text default nullif(current_setting('app.rpc', true), ''),
            request_id text default nullif(current_setting('app.request_id', true), ''),
            ip text default nullif(current_setting('app.ip', true), ''),
            user_agent text default nullif(current_setting('app.user_agent', true), ''),
            -- By tenant first: the relay reads each tenant's rows apart, and one with many does not hide the others.
            constraint outbox_pkey primary key (tenant_id, outbox_id),
            constraint outbox_outcome_check check (outcome in ('ok', 'denied', 'failed')),
            constraint outbox_visibility_check check (visibility in (1, 2)),
            constraint outbox_changes_check check (jsonb_typeof(changes) = 'object')
        ) with (
            -- The table is small and every row dies young: without these it grows to fourteen times its size.
            autovacuum_vacuum_scale_factor = 0,
            autovacuum_vacuum_threshold = 5000,
            autovacuum_vacuum_cost_delay = 0
        );
        comment on table %1$I.outbox is
        'Changes not yet acknowledged by audit. Written by capture triggers, removed by the relay, read by nobody else.';
        call app.own('%1$I.outbox');

        create table %1$I.outbox_parked (
            tenant_id uuid not null,
            parked_at timestamptz not null default now(),
            attempts integer not null default 1,
            retry_at timestamptz not null,
            last_error text not null,
            constraint outbox_parked_pkey primary key (tenant_id),
            constraint outbox_parked_attempts_check check (attempts > 0),
            constraint outbox_parked_last_error_check check (length(last_error) <= 2000)
        );
        comment on table %1$I.outbox_parked is
        'Tenants whose events audit refuses: the relay passes them over until retry_at, others go on.';
        call app.own('%1$I.outbox_parked');
    $sql$, p_schema);
    execute format(
        'create policy relay_read on %1$I.outbox for select to %2$I using (true)',
        p_schema, 'bulkhead_' || p_schema || '_relay'
    );
    execute format(
        'create policy relay_remove on %1$I.outbox for delete to %2$I using (true)',
        p_schema, 'bulkhead_' || p_schema || '_relay'
    );
    execute format(
        'create policy relay_park on %1$I.outbox_parked to %2$I using (true) with check (true)',
        p_schema, 'bulkhead_' || p_schema || '_relay'
    );
    execute format('grant select, delete on %1$I.outbox to %2$I', p_schema, 'bulkhead_' || p_schema || '_relay');
    execute format(
        'grant select, insert, update, delete on %1$I.outbox_parked to %2$I',
        p_schema, 'bulkhead_' || p_schema || '_relay'
    );
    execute format('grant usage on schema %1$I to %2$I', p_schema, 'bulkhead_' || p_schema || '_relay');
end
$procedure$;
revoke all on procedure app.outbox_in(text) from public;
grant execute on procedure app.outbox_in(text) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on procedure app.outbox_in(text) is
'The outbox of a service and its parking place, alike in every service.';

create or replace procedure app.own(in p_table regclass)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
declare
    v_schema text;
begin
    select n.nspname into strict v_schema
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    execute format('alter table %s enable row level security', p_table::text);
    execute format('alter table %s force row level security', p_table::text);
    -- Without it a backfill under FORCE touches no row and a constraint is validated over rows nobody looked at.
    execute format(
        'create policy owner_right on %s to %I using (true) with check (true)',
        p_table::text, 'bulkhead_' || v_schema || '_owner'
    );
end
$procedure$;
revoke all on procedure app.own(regclass) from public;
grant execute on procedure app.own(regclass) to bulkhead_audit_owner, bulkhead_identity_owner, bulkhead_issues_owner;
comment on procedure app.own(regclass) is
'Row-level security, forced, with the owner''s explicit right and nobody else''s.';

create or replace procedure app.protect(in p_table regclass)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
declare
    v_schema text;
begin
    call app.own(p_table);
    select n.nspname into strict v_schema
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    execute format(
        'create policy tenant_wall on %s as restrictive for all to %I '
        'using (tenant_id = app.current_tenant_id()) with check (tenant_id = app.current_tenant_id() and app.is_writing())',
        p_table::text, 'bulkhead_' || v_schema || '_app'
    );
end
$procedure$;
revoke all on procedure app.protect(regclass) from public;
grant execute on procedure app.protect(regclass) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on procedure app.protect(regclass) is
'app.own, and the wall between tenants for the service''s app role: one text on every tenant table.';

create or replace function app.refuse(p_code integer, p_reason text, p_message text, p_metadata jsonb default '{}'::jsonb)
 returns void
 language plpgsql
 stable
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    raise exception using
        errcode = 'BH0' || lpad(p_code::text, 2, '0'),
        message = p_reason,
        detail = p_message,
        hint = p_metadata::text;
end
$function$;
revoke all on function app.refuse(integer, text, text, jsonb) from public;
grant execute on function app.refuse(integer, text, text, jsonb) to bulkhead_audit_app, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app,
    bulkhead_issues_owner, bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.refuse(integer, text, text, jsonb) is
'Ends the statement with a refusal of the contract: gRPC code, ErrorReason, text, metadata.';

create or replace procedure app.request_ids_in(in p_schema text)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
begin
    execute format($sql$
        create table %1$I.request_ids (
            tenant_id uuid not null,
            principal text not null,
            request_id uuid not null,
            rpc text not null,
            request_digest bytea not null,
            reply bytea,
            created_at timestamptz not null default now(),
            -- By principal too, or one member could fetch the answer to another's call.
            constraint request_ids_pkey primary key (tenant_id, principal, request_id),
            constraint request_ids_principal_check check (length(principal) between 1 and 100),
            constraint request_ids_request_digest_check check (octet_length(request_digest) = 32)
        );
        create index request_ids_created_at_idx on %1$I.request_ids (created_at);
        comment on table %1$I.request_ids is
        'Calls that named a request_id, with their answers, for 24 hours: a repeat gets the same answer and has no effect.';
        call app.protect('%1$I.request_ids');
        create policy own_calls on %1$I.request_ids to %2$I
        using (principal = app.principal()) with check (principal = app.principal());
        grant select, insert (tenant_id, principal, request_id, rpc, request_digest), update (reply)
        on %1$I.request_ids to %2$I;
        create policy expiry_read on %1$I.request_ids for select to %3$I using (true);
        create policy expiry_remove on %1$I.request_ids for delete to %3$I
        using (created_at < now() - interval '24 hours');
        grant select (tenant_id, principal, request_id, created_at), delete on %1$I.request_ids to %3$I;
        grant usage on schema %1$I to %2$I, %3$I;
    $sql$, p_schema, 'bulkhead_' || p_schema || '_app', 'bulkhead_' || p_schema || '_worker');
end
$procedure$;
revoke all on procedure app.request_ids_in(text) from public;
grant execute on procedure app.request_ids_in(text) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on procedure app.request_ids_in(text) is
'The store of answered calls of a service, alike in every service.';

create or replace procedure app.rights(in p_table regclass, in p_read smallint, in p_write smallint)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
declare
    v_app text;
begin
    select 'bulkhead_' || n.nspname || '_app' into strict v_app
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    execute format(
        'create policy read_right on %s for select to %I using (app.role_level() >= %s)',
        p_table::text, v_app, p_read
    );
    execute format(
        'create policy insert_right on %s for insert to %I with check (app.role_level() >= %s)',
        p_table::text, v_app, p_write
    );
    execute format(
        'create policy update_right on %s for update to %I using (app.role_level() >= %s) '
        'with check (app.role_level() >= %s)',
        p_table::text, v_app, p_write, p_write
    );
end
$procedure$;
revoke all on procedure app.rights(regclass, smallint, smallint) from public;
grant execute on procedure app.rights(regclass, smallint, smallint) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on procedure app.rights(regclass, smallint, smallint) is
'The usual rights behind the wall: the least role that reads and the least role that writes.';

create or replace function app.stamp()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if tg_op = 'INSERT' then
        if not app.importing() then
            new.created_at := now();
            new.updated_at := new.created_at;
        end if;
        new.created_by := app.current_user_id();
        new.version := 1;
    else
        new.created_at := old.created_at;
        new.created_by := old.created_by;
        new.version := old.version + 1;
        if not app.importing() then
            -- Never backwards, or a keyset page by time would skip the row.
            new.updated_at := greatest(now(), old.updated_at);
        end if;
    end if;
    -- For that reason a time far ahead would stay for good. Another tracker's clock may be a little fast.
    if app.importing() and greatest(new.created_at, new.updated_at) > now() + interval '1 hour' then
        perform app.refuse(
            3, 'INVALID_FIELD', 'update_time: must not be in the future', '{"field": "update_time"}'
        );
    end if;
    return new;
end
$function$;
revoke all on function app.stamp() from public;
grant execute on function app.stamp() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_audit_partition,
    bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_owner,
    bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_owner, bulkhead_issues_search,
    bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.stamp() is
'BEFORE INSERT OR UPDATE: created_at, created_by, updated_at and version, which nobody sets by hand.';

create or replace function app.time_text(p_time timestamp with time zone)
 returns text
 language sql
 stable parallel safe
return to_char((p_time at time zone 'UTC'::text), case (p_time at time zone 'UTC'::text) when date_trunc('second'::text, (p_time at time zone 'UTC'::text)) then 'YYYY-MM-DD"T"HH24:MI:SS"Z"'::text when date_trunc('milliseconds'::text, (p_time at time zone 'UTC'::text)) then 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'::text else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text end);
revoke all on function app.time_text(timestamp with time zone) from public;
grant execute on function app.time_text(timestamp with time zone) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on function app.time_text(timestamp with time zone) is
'A time as the contract''s JSON has it: RFC 3339 in UTC, exact.';

create or replace function app.told(p_table regclass, p_row jsonb)
 returns jsonb
 language sql
 stable parallel safe
return (select jsonb_object_agg((jsonb_each.value ->> 'field'::text), case when ((told.p_row ->> (jsonb_each.value ->> 'unless'::text)) is not null) then null::jsonb when (jsonb_each.value ? 'values'::text) then to_jsonb(coalesce(((jsonb_each.value -> 'values'::text) ->> (told.p_row ->> jsonb_each.key)), (told.p_row ->> jsonb_each.key))) when ((jsonb_each.value ->> 'form'::text) = 'time'::text) then to_jsonb(app.time_text(((told.p_row ->> jsonb_each.key))::timestamp with time zone)) when ((jsonb_each.value ->> 'form'::text) = 'text'::text) then to_jsonb((told.p_row ->> jsonb_each.key)) else (told.p_row -> jsonb_each.key) end) as jsonb_object_agg from jsonb_each(app.captured_fields(told.p_table)) jsonb_each(key, value));
revoke all on function app.told(regclass, jsonb) from public;
grant execute on function app.told(regclass, jsonb) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on function app.told(regclass, jsonb) is
'A row, as JSON, in the fields and values that captured changes have: what its events add up to.';

reset role;
